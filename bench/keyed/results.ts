import { atLeast, below, number, table, type Verdict } from "../results.ts";
import { farebox, fareboxUnguarded } from "./farebox.ts";
import { expressProxy, nodeProxy, portkey } from "./lane.ts";
import { BARE_REFUSAL, BARE_TOGETHER, KEYED_LANES, type KeyedResults } from "./measure.ts";

/** Holds the results against what is promised. */
export function judgeKeyed({ calls, streamStart, streamsGrowth, flood, loopDelay }: KeyedResults): Verdict[] {
  const perSecond = (loads: KeyedResults["calls"], name: string) => loads[name]?.perSecond ?? Number.NaN;
  const of = (peer: string) => perSecond(calls, farebox.name) / perSecond(calls, peer);
  const started = (name: string) => streamStart[name]?.p50Ms ?? Number.NaN;
  const floodOf = (bare: string) => perSecond(flood, fareboxUnguarded.name) / perSecond(flood, bare);
  return [
    atLeast("keyed: gateway / bare node:http proxy", of(nodeProxy.name), 0.6),
    atLeast("keyed: gateway / bare Express 5 + undici proxy", of(expressProxy.name), 1.4),
    atLeast("keyed: gateway / Portkey 1.15.2", of(portkey.name), 8),
    below(
      "keyed: stream's first byte p50, gateway after bare proxy",
      started(farebox.name) - started(nodeProxy.name),
      1.5,
      "ms",
    ),
    atLeast("bad keys: gateway (401 each) / bare node:http 401", floodOf(BARE_REFUSAL), 0.5),
    atLeast("the same, bare answers of one turn leave together", floodOf(BARE_TOGETHER), 0.5),
    below("memory for 1,000 streams, gateway", streamsGrowth[farebox.name], 150, "MiB"),
    below("event loop delay p99, gateway, keyed", loopDelay[farebox.name]?.p99, 5, "ms"),
  ];
}

/** The table for people. */
export function describeKeyed({ calls, streamStart, streamsGrowth, loopDelay }: KeyedResults): string {
  const heads = ["", "keyed/s", "p99 ms", "SSE p50 ms", "SSE p99 ms", "1,000 SSE MiB", "loop ms"];
  const rows = KEYED_LANES.map(({ name, label }) => [
    label,
    number(calls[name]?.perSecond, 0),
    number(calls[name]?.p99Ms),
    number(streamStart[name]?.p50Ms, 2),
    number(streamStart[name]?.p99Ms, 2),
    number(streamsGrowth[name]),
    number(loopDelay[name]?.p99),
  ]);
  return table([heads, ...rows]);
}
