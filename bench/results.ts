import { availableParallelism, cpus, loadavg } from "node:os";
import type { FirstByte } from "./first-byte.ts";
import type { Lane } from "./lane.ts";
import { CONNECTIONS, findLoader } from "./load.ts";
import type { LoopDelay } from "./loop-delay.ts";
import type { Loads } from "./throughput.ts";

/** Everything one run measured, by the lane's name; what was left out is missing. */
export interface Results {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly unpaid?: Loads;
  readonly paid?: Loads;
  readonly firstByte?: Readonly<Record<string, FirstByte>>;
  /** MiB. */
  readonly pipedBodyGrowth?: Readonly<Record<string, number>>;
  /** Process start to the first 402, ms. */
  readonly startMs?: Readonly<Record<string, number>>;
  readonly loopDelay?: Readonly<Record<string, { readonly unpaid: LoopDelay; readonly paid: LoopDelay }>>;
}

/** A number that is promised, and whether this run kept it. */
export interface Verdict {
  readonly what: string;
  readonly measured: number;
  readonly atLeast?: number;
  readonly below?: number;
  readonly unit: string;
  /** Missing for a number that promises nothing. */
  readonly passed?: boolean;
}

export function describeMachine(): Results["machine"] {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    node: process.version,
    loader: findLoader(),
    connections: CONNECTIONS,
    loadAverageAtStart: Number(loadavg()[0]?.toFixed(2)),
  };
}

/** Holds the results against what is promised; a number that was not measured has no verdict. */
export function judge({ unpaid, paid, firstByte, pipedBodyGrowth, startMs, loopDelay }: Results): Verdict[] {
  const ratio = (loads: Loads | undefined, name: string, peer: string) =>
    (loads?.[name]?.perSecond ?? Number.NaN) / (loads?.[peer]?.perSecond ?? Number.NaN);
  const gateway = "farebox-gateway";
  const middleware = "farebox-middleware";
  const direct = firstByte?.["direct"]?.p50Ms ?? Number.NaN;
  const verdicts = [
    atLeast("unpaid 402: gateway / bare node:http", ratio(unpaid, gateway, "node-http"), 0.5),
    noted("the same, bare answers of one turn leave together", ratio(unpaid, gateway, "node-http-together")),
    atLeast("unpaid 402: gateway / @x402/express", ratio(unpaid, gateway, "x402-express"), 5),
    atLeast("unpaid 402: middleware / bare Express 5", ratio(unpaid, middleware, "express-use"), 0.75),
    atLeast("the same, both on a route", ratio(unpaid, "farebox-route", "express-route"), 0.75),
    atLeast("paid: gateway (with its upstream) / @x402/express", ratio(paid, gateway, "x402-express"), 4),
    atLeast("paid: middleware / @x402/express", ratio(paid, middleware, "x402-express"), 4),
    noted(
      "paid: floor (two facilitator calls, no checks) / @x402/express",
      ratio(paid, "floor", "x402-express"),
    ),
    noted("paid: middleware (route) / floor", ratio(paid, "farebox-route", "floor")),
    below(
      "SSE first event, gateway after direct",
      (firstByte?.[gateway]?.p50Ms ?? Number.NaN) - direct,
      25,
      "ms",
    ),
    below(
      "SSE first event, middleware after direct",
      (firstByte?.[middleware]?.p50Ms ?? Number.NaN) - direct,
      25,
      "ms",
    ),
    below("memory for 200 MiB, gateway", pipedBodyGrowth?.[gateway], 40, "MiB"),
    below("memory for 200 MiB, middleware", pipedBodyGrowth?.[middleware], 40, "MiB"),
    below("start to first 402, gateway", startMs?.[gateway], 700, "ms"),
    below("event loop delay p99, gateway, unpaid", loopDelay?.[gateway]?.unpaid.p99, 5, "ms"),
    below("event loop delay p99, gateway, paid", loopDelay?.[gateway]?.paid.p99, 5, "ms"),
  ];
  return verdicts.filter(({ measured }) => !Number.isNaN(measured));
}

/** The table for people. */
export function describe(results: Results, lanes: readonly Lane[]): string {
  const { unpaid, paid, firstByte, pipedBodyGrowth, startMs, loopDelay } = results;
  const rows = [...lanes, { name: "direct", label: "the upstream itself" }].map(({ name, label }) => [
    label,
    load(unpaid, name),
    load(paid, name),
    number(firstByte?.[name]?.p50Ms),
    number(pipedBodyGrowth?.[name]),
    number(startMs?.[name]),
    number(loopDelay?.[name]?.unpaid.p99),
    number(loopDelay?.[name]?.paid.p99),
  ]);
  const heads = ["", "402/s", "paid/s", "SSE ms", "RSS MiB", "start ms", "loop ms", "loop paid ms"];
  return table([heads, ...rows]);
}

/** What was promised, what came out. */
export function describeVerdicts(verdicts: readonly Verdict[]): string {
  const lines = verdicts.map(({ what, measured, atLeast, below, unit, passed }) => {
    if (passed === undefined) return [what, number(measured, 2), unit, "", ""];
    const target = atLeast === undefined ? `< ${below}` : `>= ${atLeast}`;
    return [what, number(measured, 2), unit, target, passed ? "pass" : "falls short"];
  });
  return table(lines);
}

/** A promise that a number is at least so much. */
export function atLeast(what: string, measured: number, target: number): Verdict {
  return { what, measured, atLeast: target, unit: "x", passed: measured >= target };
}

/** A number that says what the others can reach; nothing is promised. */
export function noted(what: string, measured: number, unit = "x"): Verdict {
  return { what, measured, unit };
}

/** A promise that a number stays below. A number that is missing keeps no promise. */
export function below(what: string, measured: number | undefined, target: number, unit: string): Verdict {
  return {
    what,
    measured: measured ?? Number.NaN,
    below: target,
    unit,
    passed: (measured ?? Infinity) < target,
  };
}

function load(loads: Loads | undefined, name: string): string {
  return number(loads?.[name]?.perSecond, 0);
}

/** Empty for what was not measured. */
export function number(value: number | undefined, digits = 1): string {
  return value === undefined ? "" : value.toFixed(digits);
}

/** Columns as wide as their widest cell, the first to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      ),
    )
    .map((cells) => cells.join("  "))
    .join("\n");
}
