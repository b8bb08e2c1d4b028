import { atLeast, below, noted, number, table, type Verdict } from "../results.ts";
import type { LedgerLoad, RedisResults } from "./measure.ts";

/** Holds the results against what is promised. */
export function judgeRedis(results: RedisResults): Verdict[] {
  const { sqlite, oneGateway, twoGateways, twoSharing, keylessRedisMicros } = results;
  return [
    atLeast("keyed on Redis / keyed on SQLite, one gateway", oneGateway.perSecond / sqlite.perSecond, 0.7),
    below("CPU of a keyed call, two gateways / one", cpuOf(twoGateways) / cpuOf(oneGateway), 1.1, "x"),
    noted("the same, where two share the connections of one", cpuOf(twoSharing) / cpuOf(oneGateway), "x"),
    noted("Redis CPU of a keyed call", oneGateway.redisMicros, "µs"),
    noted("Redis CPU of a keyless call", keylessRedisMicros, "µs"),
  ];
}

/** The table for people. */
export function describeRedis({ sqlite, oneGateway, twoGateways, twoSharing }: RedisResults): string {
  const row = (label: string, { perSecond, gatewayMicros, redisMicros }: LedgerLoad) => [
    label,
    number(perSecond, 0),
    number(gatewayMicros, 0),
    number(redisMicros, 0),
  ];
  return table([
    ["", "keyed/s", "gateway µs", "Redis µs"],
    row("SQLite, one gateway", sqlite),
    row("Redis, one gateway", oneGateway),
    row("Redis, two gateways", twoGateways),
    row("the same, half as many connections each", twoSharing),
  ]);
}

function cpuOf({ gatewayMicros, redisMicros }: LedgerLoad): number {
  return gatewayMicros + redisMicros;
}
