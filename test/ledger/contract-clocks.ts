import { describe, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { asks, customer, held, spend } from "./customers.ts";

/** The next midnight (UTC) is 10 s away for the one, and 10 s ago for the other. */
const MIDNIGHT = 1_700_006_400_000;

/** What every store promises where time goes back: processes of other clocks, or a replica of another one that took over. */
export function clocksContract(name: string, openAt: (clock: () => number) => Promise<Ledger>): void {
  describe(name, () => {
    const openTwo = async () => ({
      behind: await openAt(() => MIDNIGHT - 10_000),
      ahead: await openAt(() => MIDNIGHT + 10_000),
    });

    test("a minute that begins in the future locks nobody out", async () => {
      const { behind, ahead } = await openTwo();
      const buyer = await customer(behind, 100n, { rpm: 1 });
      await held(ahead, buyer, 1n);
      expect(await held(behind, buyer, 1n)).toMatchObject({
        rate: { limit: 1, remaining: 0, resetsInMs: 60_000 },
      });
    });

    test("a day that has begun for one has begun: the limit is not given twice for it", async () => {
      const { behind, ahead } = await openTwo();
      const buyer = await customer(behind, 1_000n, { limit: 100n, limitReset: "daily" });
      await spend(behind, buyer, 100n);
      await spend(ahead, buyer, 60n);
      expect(await behind.hold(asks(buyer, 50n))).toMatchObject({
        outcome: "key_limit_reached",
        affordable: 40n,
      });
      await spend(behind, buyer, 40n);
      expect(await ahead.hold(asks(buyer, 1n))).toMatchObject({
        outcome: "key_limit_reached",
        affordable: 0n,
      });
      expect(await ahead.key(buyer.keyId)).toMatchObject({ usage: 200n, spent: 100n });
    });
  });
}
