import { below, number, table, type Verdict } from "../results.ts";
import type { Fared } from "./callers.ts";
import type { AbuseResults } from "./measure.ts";

/** 200 MB. */
const MOST_MIB = 190;

/** Holds the results against what is promised. */
export function judgeAbuse({ peace, sieges }: AbuseResults): Verdict[] {
  const served = sieges.reduce((sum, siege) => sum + siege.served, 0);
  const verdicts = sieges.flatMap(({ name, keyedP99Ms, unpaidP99Ms }) => [
    below(`${name}: p99 of good keyed calls / without`, keyedP99Ms / peace.keyedP99Ms, 2, "x"),
    below(`${name}: p99 of unpaid 402s / without`, unpaidP99Ms / peace.unpaidP99Ms, 2, "x"),
  ]);
  const growth = Math.max(...sieges.map(({ growthMib }) => growthMib));
  const asked = (name: string) => sieges.find((siege) => siege.name === name)?.asked;
  return [
    ...verdicts,
    below("attacks: growth of the server's memory", growth, MOST_MIB, "MiB"),
    below("attacks: answers that served", served, 1, ""),
    below("bogus payments: questions to the facilitator", asked("bogus payments"), 1, ""),
    below(
      "payments that are refused: questions to the facilitator",
      asked("payments that are refused"),
      121,
      "",
    ),
  ];
}

/** The table for people. */
export function describeAbuse({ peace, sieges }: AbuseResults): string {
  const heads = [
    "",
    "sent",
    "served",
    "closed",
    "asked",
    "keyed p99 ms",
    "worst",
    "402 p99 ms",
    "worst",
    "RSS MiB",
  ];
  const rows = sieges.map(({ name, sent, served, closed, asked, growthMib, ...callers }) => [
    name,
    ...[sent, served, closed, asked].map((count) => String(count)),
    ...times(callers),
    number(growthMib),
  ]);
  const alone = ["nobody attacks", "", "", "", "", ...times(peace), ""];
  return table([heads, alone, ...rows]);
}

function times({ keyedP99Ms, keyedWorstMs, unpaidP99Ms, unpaidWorstMs }: Fared): string[] {
  return [keyedP99Ms, keyedWorstMs, unpaidP99Ms, unpaidWorstMs].map((ms) => number(ms, 2));
}
