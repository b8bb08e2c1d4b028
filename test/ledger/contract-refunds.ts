import { describe, expect, test } from "vitest";
import type { Hold } from "../../server/ledger/call-ledger.ts";
import { asks, captures, customer, held, purse, spend, usageOf } from "./customers.ts";
import { keep, LEASE_MS, randomId, type World } from "./world.ts";

export function refundContract(world: World): void {
  const refund = (hold: Hold) => {
    const { id, account, keyId } = hold;
    return world.ledger.refund({ id, account, keyId, usage: usageOf(hold, { notCharged: "undone" }) });
  };

  describe("refund", () => {
    test("of a captured call gives back balance, usage and limit, once", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 500n });
      const hold = await held(world.ledger, buyer, 300n);
      await world.ledger.capture(captures(hold, 120n));
      const outcomes = await Promise.all([refund(hold), refund(hold), refund(hold)]);
      expect(outcomes).toEqual(["refunded", "refunded", "refunded"]);
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.journal(buyer.account)).toMatchObject([
        { kind: "credit", reference: "credit:first" },
        { kind: "capture", reference: `hold:${hold.id}`, amount: -120n, balance: 880n },
        { kind: "credit", reference: `refund:${hold.id}`, amount: 120n, balance: 1_000n },
      ]);
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        usage: 0n,
        spent: 0n,
        held: 0n,
        limitRemaining: 500n,
      });
      expect(await world.ledger.checkAccounts()).toEqual([]);
      expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toMatchObject([
        { charged: 120n },
      ]);
    });

    test("of a call of an earlier period gives no more of a limit than there is", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, limitReset: "daily" });
      const hold = await held(world.ledger, buyer, 60n);
      await world.ledger.capture(captures(hold, 60n));
      world.pass(DAY_MS);
      // So that this day's spending is what is kept.
      await spend(world.ledger, buyer, 10n);
      expect(await refund(hold)).toBe("refunded");
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ usage: 10n, limitRemaining: 100n });
      expect((await world.ledger.hold(asks(buyer, 101n))).outcome).toBe("key_limit_reached");
    });

    test("of an open hold frees it, and a capture that comes later takes nothing", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      expect(await refund(hold)).toBe("freed");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.capture(captures(hold, 120n))).toEqual({
        outcome: "repeated",
        charged: 0n,
        shortfall: 0n,
      });
      expect(await refund(hold)).toBe("freed");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toMatchObject([
        { charged: 0n, notCharged: "undone" },
      ]);
    });

    test("of a hold that was swept: the same", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      await world.ledger.sweepHolds();
      expect(await refund(hold)).toBe("freed");
      expect(await world.ledger.capture(captures(hold, 120n))).toMatchObject({ charged: 0n });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
    });

    test("of a call whose answer is kept changes nothing, until the answer is gone", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = { hash: randomId(), fingerprint: "the request" };
      const hold = await held(world.ledger, buyer, 300n, { idempotency });
      await world.ledger.capture(captures(hold, 120n, { idempotency, keep: keep("kept", 1_000) }));
      expect(await refund(hold)).toBe("answered");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 880n, held: 0n });
      expect(await world.ledger.hold(asks(buyer, 300n, { idempotency }))).toMatchObject({
        outcome: "replay",
      });
      world.pass(1_000);
      expect(await refund(hold)).toBe("refunded");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
    });

    test.each([120n, 0n])("of a call without an answer frees its idempotency key (cost %s)", async (cost) => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = { hash: randomId(), fingerprint: "the request" };
      const hold = await held(world.ledger, buyer, 300n, { idempotency });
      await world.ledger.capture(captures(hold, cost, { idempotency }));
      expect(await refund(hold)).toBe(cost === 0n ? "freed" : "refunded");
      const again = await held(world.ledger, buyer, 300n, { idempotency });
      // The one that has the key now is none of its business.
      await world.ledger.capture(captures(again, 50n, { idempotency, keep: keep("another", 1_000) }));
      expect(await refund(hold)).toBe(cost === 0n ? "freed" : "refunded");
      const replay = await world.ledger.hold(asks(buyer, 300n, { idempotency }));
      expect(replay.outcome === "replay" ? replay.response?.sealed.length : replay).toBe("another".length);
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 950n, held: 0n });
    });

    test("of a call that a token's account paid, without a key", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const payer = { kind: "account", account: buyer.account } as const;
      const hold = await held(world.ledger, buyer, 300n, { payer });
      await world.ledger.capture(captures(hold, 120n));
      expect(await refund(hold)).toBe("refunded");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("survives the trim of its journal: sums stay, and none is given twice", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      await world.ledger.capture(captures(hold, 120n));
      await refund(hold);
      let after: string | undefined;
      do {
        const page = await world.ledger.unexported("journal", after, 1_000);
        await world.ledger.markExported("journal", page.marks);
        after = page.next;
      } while (after !== undefined);
      world.pass(DAY_MS);
      while ((await world.ledger.trimExported("journal", DAY_MS)) > 0);
      expect(await world.ledger.journal(buyer.account)).toEqual([]);
      expect(await refund(hold)).toBe("refunded");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });
  });
}

const DAY_MS = 86_400_000;
