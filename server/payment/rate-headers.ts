import type { RateState } from "../ledger/call-ledger.ts";

/** IETF draft `RateLimit-*`, as the clients of other APIs know it. */
export function rateHeaders(rate: RateState | undefined): readonly (readonly [string, string])[] {
  if (rate === undefined) return [];
  return [
    ["RateLimit-Limit", String(rate.limit)],
    ["RateLimit-Remaining", String(rate.remaining)],
    ["RateLimit-Reset", String(wholeSeconds(rate.resetsInMs))],
  ];
}

/** Rounded up, and at least one: whoever comes back after it does not come too early. */
export function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}
