import { describe, expect, test } from "vitest";
import { account, asks, captures, customer, held, holdIn, purse, spend, usageOf } from "./customers.ts";
import { LEASE_MS, type World } from "./world.ts";

const DAY_MS = 86_400_000;

export function captureContract(world: World): void {
  /** To the next midnight (UTC) after so many whole days. */
  function passToMidnight(days = 0): void {
    world.pass(DAY_MS - (world.now() % DAY_MS) + days * DAY_MS);
  }

  describe("capture", () => {
    test("the hold becomes the debit: balance, journal, key, usage", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 500n });
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(5);
      expect(await world.ledger.capture(captures(hold, 120n))).toEqual({
        outcome: "captured",
        charged: 120n,
        shortfall: 0n,
      });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 880n, held: 0n });
      expect(await world.ledger.journal(buyer.account)).toMatchObject([
        { kind: "credit", reference: "credit:first", amount: 1_000n, balance: 1_000n },
        { kind: "capture", reference: `hold:${hold.id}`, amount: -120n, balance: 880n, at: world.now() },
      ]);
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        usage: 120n,
        spent: 120n,
        held: 0n,
        limitRemaining: 380n,
      });
      expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toEqual([
        { ...usageOf(hold), id: expect.any(Number), at: world.now(), charged: 120n },
      ]);
    });

    test.each([
      ["more than was held takes what was held", 500n, 300n],
      ["nothing takes nothing, and writes no journal entry", 0n, 0n],
    ])("a cost of %s", async (_name, cost, charged) => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      expect(await world.ledger.capture(captures(hold, cost))).toMatchObject({ charged, shortfall: 0n });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n - charged, held: 0n });
      expect(await world.ledger.journal(buyer.account)).toHaveLength(charged > 0n ? 2 : 1);
    });

    test.each([120n, 0n])(
      "again, at any cost, changes nothing and says what was charged (%s)",
      async (cost) => {
        const buyer = await customer(world.ledger, 1_000n);
        const hold = await held(world.ledger, buyer, 300n);
        const attempts = [cost, cost, 300n, 0n].map((each) => world.ledger.capture(captures(hold, each)));
        const outcomes = await Promise.all(attempts);
        const repeated = { outcome: "repeated", charged: cost, shortfall: 0n };
        expect(outcomes).toEqual([
          { outcome: "captured", charged: cost, shortfall: 0n },
          repeated,
          repeated,
          repeated,
        ]);
        expect(await world.ledger.releaseHold(hold.id, usageOf(hold))).toBe("gone");
        expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n - cost, held: 0n });
        expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toHaveLength(1);
      },
    );

    test("of less than nothing, or such a credit, changes nothing", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      await expect(world.ledger.capture(captures(hold, -1n))).rejects.toThrow("less than nothing");
      for (const amount of [-50n, 0n]) {
        await expect(world.ledger.creditAccount(buyer.account, amount, "odd")).rejects.toThrow("more than");
      }
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 300n });
    });

    test("is paid by whose hold it is, whoever the capture names", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const stranger = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      const { account: other, keyId } = stranger;
      await world.ledger.capture(captures(hold, 300n, { account: other, keyId }));
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 700n, held: 0n });
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ usage: 300n, held: 0n });
      expect(await purse(world.ledger, other)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.key(keyId)).toMatchObject({ usage: 0n, held: 0n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("of a token's account", async () => {
      const id = await account(world.ledger, 100n);
      const payer = { kind: "account", account: id } as const;
      const hold = await held(world.ledger, { hash: "" }, 60n, { payer });
      await world.ledger.capture(captures(hold, 25n));
      expect(await purse(world.ledger, id)).toEqual({ balance: 75n, held: 0n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("amounts beyond 2^53 are exact", async () => {
      const vast = 9_007_199_254_740_993n;
      const buyer = await customer(world.ledger, 2n * vast + 1n, { limit: 2n * vast });
      const hold = await held(world.ledger, buyer, vast);
      await world.ledger.capture(captures(hold, vast));
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: vast + 1n, held: 0n });
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ usage: vast, limitRemaining: vast });
    });
  });

  describe("capture after the sweep", () => {
    test("takes all of it while the balance bears it", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      await world.ledger.sweepHolds();
      expect(await world.ledger.capture(captures(hold, 200n))).toEqual({
        outcome: "captured",
        charged: 200n,
        shortfall: 0n,
      });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 800n, held: 0n });
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ usage: 200n, spent: 200n, held: 0n });
    });

    test("takes what is not held by others, and reports the rest, also when repeated", async () => {
      const buyer = await customer(world.ledger, 300n);
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      const other = await held(world.ledger, buyer, 250n);
      const late = captures(hold, 200n);
      expect(await world.ledger.capture(late)).toEqual({
        outcome: "captured",
        charged: 50n,
        shortfall: 150n,
      });
      expect(await world.ledger.capture(late)).toEqual({
        outcome: "repeated",
        charged: 50n,
        shortfall: 150n,
      });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 250n, held: 250n });
      expect(await world.ledger.capture(captures(other, 250n))).toMatchObject({ charged: 250n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("makes no room for one call more at once", async () => {
      const buyer = await customer(world.ledger, 1_000n, { concurrency: 1 });
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      await world.ledger.sweepHolds();
      await world.ledger.capture(captures(hold, 200n));
      await held(world.ledger, buyer, 1n);
      expect((await world.ledger.hold(asks(buyer, 1n))).outcome).toBe("too_many_concurrent");
    });

    test("never takes more than had been held", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      await world.ledger.sweepHolds();
      expect(await world.ledger.capture(captures(hold, 900n))).toEqual({
        outcome: "captured",
        charged: 300n,
        shortfall: 0n,
      });
    });
  });

  describe("release", () => {
    test("gives everything back, once, and leaves a record of why", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      const usage = usageOf(hold, { status: 502, notCharged: "upstream_failed" });
      expect(await world.ledger.releaseHold(hold.id, usage)).toBe("released");
      expect(await world.ledger.releaseHold(hold.id, usage)).toBe("gone");
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
      expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toMatchObject([
        { charged: 0n, held: 300n, status: 502, notCharged: "upstream_failed" },
      ]);
    });

    test("a released call cannot be charged afterwards", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      await world.ledger.releaseHold(hold.id, usageOf(hold));
      expect(await world.ledger.capture(captures(hold, 300n))).toEqual({
        outcome: "repeated",
        charged: 0n,
        shortfall: 0n,
      });
      expect(await world.ledger.balance(buyer.account)).toBe(1_000n);
    });

    test("after the sweep it is gone, and still leaves its record", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const hold = await held(world.ledger, buyer, 300n);
      world.pass(LEASE_MS);
      await world.ledger.sweepHolds();
      expect(await world.ledger.releaseHold(hold.id, usageOf(hold))).toBe("gone");
      expect(await world.ledger.usage({ account: buyer.account, limit: 10 })).toHaveLength(1);
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 0n });
    });
  });

  describe("a key's limit", () => {
    test("lowered below what was spent admits nothing, and gives nothing back", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 500n });
      await spend(world.ledger, buyer, 300n);
      const running = await held(world.ledger, buyer, 100n);
      expect(await world.ledger.changeKey(buyer.keyId, { limit: 200n })).toMatchObject({
        limit: 200n,
        spent: 300n,
        held: 100n,
        limitRemaining: 0n,
      });
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual({
        outcome: "key_limit_reached",
        needed: 1n,
        affordable: 0n,
        limit: 200n,
        resetsAt: undefined,
      });
      // What runs was admitted and is billed.
      expect(await world.ledger.capture(captures(running, 100n))).toMatchObject({ charged: 100n });
      expect(await world.ledger.changeKey(buyer.keyId, { limit: 450n })).toMatchObject({
        limitRemaining: 50n,
      });
      expect(holdIn(await world.ledger.hold(asks(buyer, 50n)))).toMatchObject({ amount: 50n });
    });

    const periods = [
      ["daily", (now: number) => Math.floor(now / DAY_MS) * DAY_MS + DAY_MS],
      [
        "weekly",
        (now: number) => {
          const date = new Date(Math.floor(now / DAY_MS) * DAY_MS);
          do date.setUTCDate(date.getUTCDate() + 1);
          while (date.getUTCDay() !== 1);
          return date.getTime();
        },
      ],
      [
        "monthly",
        (now: number) => {
          const date = new Date(now);
          return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
        },
      ],
    ] as const;

    test.each(periods)("starts again (%s) at the moment it says, not before", async (limitReset, next) => {
      passToMidnight(3);
      world.pass(1);
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, limitReset });
      await spend(world.ledger, buyer, 100n);
      const resetsAt = next(world.now());
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ limitResetsAt: resetsAt });
      world.pass(resetsAt - world.now() - 1);
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual({
        outcome: "key_limit_reached",
        needed: 1n,
        affordable: 0n,
        limit: 100n,
        resetsAt,
      });
      world.pass(1);
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        spent: 0n,
        usage: 100n,
        limitRemaining: 100n,
        limitResetsAt: next(world.now()),
      });
      await spend(world.ledger, buyer, 70n);
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ spent: 70n, usage: 170n });
    });

    test("of a month ends with each month of the year, however long it is", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 1n, limitReset: "monthly" });
      for (let months = 0; months < 13; months += 1) {
        await spend(world.ledger, buyer, 1n);
        const today = new Date(world.now());
        const resetsAt = Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + 1, 1);
        expect(await world.ledger.key(buyer.keyId)).toMatchObject({ limitResetsAt: resetsAt });
        world.pass(resetsAt - 1 - world.now());
        expect(await world.ledger.hold(asks(buyer, 1n))).toMatchObject({ outcome: "key_limit_reached" });
        world.pass(1);
      }
      expect(await world.ledger.balance(buyer.account)).toBe(87n);
    });

    test("that is changed after it has started again: what was spent before does not count", async () => {
      passToMidnight();
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, limitReset: "daily" });
      await spend(world.ledger, buyer, 60n);
      passToMidnight();
      expect(await world.ledger.changeKey(buyer.keyId, { limit: 50n })).toMatchObject({
        spent: 0n,
        limitRemaining: 50n,
      });
      await held(world.ledger, buyer, 50n);
    });

    test("a call in flight over the turn counts in the new period (billing case 5)", async () => {
      passToMidnight();
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, limitReset: "daily" });
      await spend(world.ledger, buyer, 60n);
      const running = await held(world.ledger, buyer, 40n, { leaseMs: 2 * DAY_MS });
      passToMidnight();
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        spent: 0n,
        held: 40n,
        limitRemaining: 60n,
      });
      expect((await world.ledger.hold(asks(buyer, 61n))).outcome).toBe("key_limit_reached");
      await world.ledger.capture(captures(running, 30n));
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        spent: 30n,
        usage: 90n,
        held: 0n,
        limitRemaining: 70n,
      });
    });

    test("a limit that is set to start again later keeps what was spent until then", async () => {
      passToMidnight();
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n });
      await spend(world.ledger, buyer, 80n);
      expect(await world.ledger.changeKey(buyer.keyId, { limitReset: "daily" })).toMatchObject({
        limitRemaining: 20n,
      });
      passToMidnight();
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ limitRemaining: 100n, usage: 80n });
      await spend(world.ledger, buyer, 10n);
      expect(await world.ledger.changeKey(buyer.keyId, { limitReset: "never" })).toMatchObject({
        limitRemaining: 90n,
        limitResetsAt: undefined,
      });
    });
  });
}
