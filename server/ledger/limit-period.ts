import type { LimitReset } from "./account-ledger.ts";

const DAY_MS = 86_400_000;
/** 1 January 1970 was a Thursday: the first Monday was four days later. */
const MONDAY_MS = 4 * DAY_MS;

/** The period of a spend limit that contains this moment: its start and its end, ms since 1970, in UTC. */
export function limitPeriod(
  reset: LimitReset,
  now: number,
): { readonly start: number; readonly end: number | undefined } {
  switch (reset) {
    case "never":
      return { start: 0, end: undefined };
    case "daily": {
      const start = Math.floor(now / DAY_MS) * DAY_MS;
      return { start, end: start + DAY_MS };
    }
    case "weekly": {
      const start = Math.floor((now - MONDAY_MS) / (7 * DAY_MS)) * 7 * DAY_MS + MONDAY_MS;
      return { start, end: start + 7 * DAY_MS };
    }
    case "monthly": {
      const date = new Date(now);
      const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
      return { start: Date.UTC(year, month, 1), end: Date.UTC(year, month + 1, 1) };
    }
  }
}
