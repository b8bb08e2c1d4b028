import { GatewayError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { createPlaces, type PlacesOptions } from "../places.ts";

/** Searches that one gateway has under way for account pages, whoever asks: calls that pay share the ledger with them. */
const USUAL: PlacesOptions = { atOnce: 2, mostWaiting: 100 };
const ALL = "";

/**
 * The same ledger, which does what looks through many records a few at a time. A place is held only while the ledger works, never
 * by a client that reads slowly. Such a search rejects with `rate_limit_exceeded` where too many wait.
 */
export function withFewSearches(ledger: Ledger, options: PlacesOptions = USUAL): Ledger {
  const places = createPlaces(options);

  async function inTurn<Found>(search: () => Promise<Found>): Promise<Found> {
    if (!(await places.enter(ALL))) throw new GatewayError("rate_limit_exceeded", { retryAfterSeconds: 2 });
    try {
      return await search();
    } finally {
      places.leave(ALL);
    }
  }

  return {
    ...ledger,
    usage: (filter) => inTurn(() => ledger.usage(filter)),
    journalPage: (account, before, limit) => inTurn(() => ledger.journalPage(account, before, limit)),
    paidInPage: (account, before, limit) => inTurn(() => ledger.paidInPage(account, before, limit)),
  };
}
