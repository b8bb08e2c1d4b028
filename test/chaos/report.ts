import { cpus } from "node:os";
import { type Attempt, type ClientCall, PHASES } from "./evidence.ts";
import type { ChaosOptions } from "./options.ts";
import type { ChaosResult } from "./run-chaos.ts";

/** A run in numbers. */
export interface Summary {
  readonly options: ChaosOptions;
  readonly machine: string;
  readonly seconds: number;
  readonly totalSeconds: number;
  readonly amounts: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly leaves: Readonly<Record<string, number>>;
  /** How requests ended, by status and code. */
  readonly answers: Readonly<Record<string, number>>;
  readonly allowed: Readonly<Record<string, number>>;
  readonly violations: readonly { readonly kind: string; readonly where: readonly string[] }[];
}

const SHOWN = 5;

export function summarise(result: ChaosResult): Summary {
  const { evidence, faults, findings, options } = result;
  const { walletCalls, keyedCalls, transfers, runs } = evidence;
  const attempts = [...walletCalls, ...keyedCalls].flatMap((call) => call.attempts);
  const [processor] = cpus();
  return {
    options,
    machine: `${cpus().length} × ${processor?.model ?? "?"}, Node ${process.versions.node}`,
    seconds: Math.round(result.loadMs / 1_000),
    totalSeconds: Math.round(result.totalMs / 1_000),
    amounts: {
      faults: faults.length,
      "paid calls delivered": delivered(walletCalls),
      "transfers on the chain": transfers.length,
      "keyed calls delivered": delivered(keyedCalls),
      "requests of clients": attempts.length,
      "runs of the upstream": runs.length,
    },
    faults: tally(faults, ({ kind }) => kind),
    leaves: {
      ...Object.fromEntries(PHASES.map((phase) => [phase, 0])),
      ...tally(
        attempts.filter(({ phase }) => phase !== undefined),
        ({ phase }) => phase ?? "",
      ),
    },
    answers: tally(attempts, nameOf),
    allowed: Object.fromEntries([...findings.allowed].sort()),
    violations: [...findings.violations].map(([kind, where]) => ({ kind, where })),
  };
}

function delivered(calls: readonly ClientCall[]): number {
  return calls.filter(({ attempts }) => attempts.some(({ answer }) => answer)).length;
}

function nameOf({ end, status, code }: Attempt): string {
  if (end !== "answered") return end;
  return code === undefined ? String(status) : `${status} ${code}`;
}

function tally<Item>(items: readonly Item[], name: (item: Item) => string): Record<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(name(item), (counts.get(name(item)) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([one], [other]) => one.localeCompare(other)));
}

/** The same as Markdown. */
export function describe(summary: Summary): string {
  const { options, amounts, faults, leaves, answers, allowed, violations } = summary;
  const broken = violations.map(({ kind, where }) => [kind, where.length] as const);
  const examples = violations.flatMap(({ kind, where }) =>
    where.slice(0, SHOWN).map((place) => `- ${kind}: ${place}`),
  );
  return [
    `Seed ${options.seed}, ledger ${options.ledger}, ${options.agents} agents, ${options.clients} keyed clients, two gateways;`,
    `${summary.seconds} s of load, ${summary.totalSeconds} s in all. ${summary.machine}.`,
    "",
    table("amount", Object.entries(amounts)),
    table("fault", Object.entries(faults)),
    table("client left", Object.entries(leaves)),
    table("how requests ended", Object.entries(answers)),
    table("allowed, and counted", Object.entries(allowed)),
    table("violation", broken.length === 0 ? [["none", 0]] : broken),
    ...examples,
    "",
  ].join("\n");
}

function table(title: string, rows: readonly (readonly [string, number])[]): string {
  return [
    `| ${title} | count |`,
    "| --- | ---: |",
    ...rows.map(([name, count]) => `| ${name} | ${count} |`),
    "",
  ].join("\n");
}
