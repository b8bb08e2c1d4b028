import { describe, expect, test } from "vitest";
import type { HoldRequest } from "../../server/ledger/call-ledger.ts";
import {
  account,
  anotherKey,
  asks,
  captures,
  customer,
  held,
  holdIn,
  purse,
  tally,
  usageOf,
} from "./customers.ts";
import { LEASE_MS, randomId, type World } from "./world.ts";

const MINUTE_MS = 60_000;

export function holdContract(world: World): void {
  describe("hold", () => {
    test("sets the cost aside and says whose it is", async () => {
      const buyer = await customer(world.ledger, 1_000n, { label: "ci" });
      const asked = asks(buyer, 300n);
      expect(await world.ledger.hold(asked)).toEqual({
        outcome: "held",
        hold: {
          id: asked.id,
          account: buyer.account,
          keyId: buyer.keyId,
          keyLabel: "ci",
          amount: 300n,
          rate: undefined,
          providerKey: undefined,
        },
      });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 300n });
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({
        held: 300n,
        spent: 0n,
        usage: 0n,
        lastUsedAt: world.now(),
      });
      expect(await world.ledger.journal(buyer.account)).toHaveLength(1);
    });

    test("an account that a token names needs no key, and is bound by its balance alone", async () => {
      const id = await account(world.ledger, 500n);
      const payer = { kind: "account", account: id } as const;
      const hold = await held(world.ledger, { hash: "" }, 500n, { payer });
      expect(hold).toMatchObject({ account: id, keyId: undefined, keyLabel: undefined, rate: undefined });
      expect(await world.ledger.hold(asks({ hash: "" }, 1n, { payer }))).toEqual({
        outcome: "insufficient_credits",
        needed: 1n,
        affordable: 0n,
      });
      const nobody = { kind: "account", account: "acct_nobody" } as const;
      expect(await world.ledger.hold(asks({ hash: "" }, 0n, { payer: nobody }))).toEqual({
        outcome: "unknown",
      });
    });

    test("the same id asked twice is applied once, and its lease runs anew", async () => {
      const buyer = await customer(world.ledger, 1_000n, { rpm: 5 });
      const asked = asks(buyer, 300n, { idempotency: { hash: randomId(), fingerprint: "f" } });
      const first = await world.ledger.hold(asked);
      world.pass(LEASE_MS - 1);
      expect(await world.ledger.hold(asked)).toMatchObject({
        outcome: "held",
        hold: { id: asked.id, amount: 300n, rate: { limit: 5, remaining: 4 } },
      });
      world.pass(LEASE_MS - 1);
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 1_000n, held: 300n });
      await world.ledger.capture(captures(holdIn(first), 300n));
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 700n, held: 0n });
    });

    test("a free call is held with an empty purse", async () => {
      const buyer = await customer(world.ledger, 0n, { limit: 0n });
      expect(await held(world.ledger, buyer, 0n)).toMatchObject({ amount: 0n });
    });
  });

  describe("what refuses a hold, in its order", () => {
    /** Everything is wrong at once: each step takes the first fault away, and the next one shows. */
    test("each refusal hides those behind it", async () => {
      const buyer = await customer(world.ledger, 1n, {
        permissions: ["models:list"],
        models: ["other"],
        providers: ["other"],
        rpm: 1,
        concurrency: 1,
        limit: 0n,
        expiresAt: world.now() + 1,
      });
      const idempotency = { hash: randomId(), fingerprint: "first" };
      await held(world.ledger, buyer, 0n, {
        permission: "models:list",
        model: undefined,
        provider: undefined,
        idempotency,
      });
      world.pass(1);
      const asked = (): HoldRequest =>
        asks(buyer, 5n, { leaseMs: LEASE_MS, idempotency: { ...idempotency, fingerprint: "second" } });
      const refusal = async (request = asked()) => (await world.ledger.hold(request)).outcome;
      const change = (settings: Parameters<typeof world.ledger.changeKey>[1]) =>
        world.ledger.changeKey(buyer.keyId, settings);

      expect(await refusal({ ...asked(), payer: { kind: "key", hash: randomId() } })).toBe("unknown");
      expect(await refusal()).toBe("expired");
      await change({ expiresAt: world.now() + 1 });
      expect(await refusal()).toBe("not_permitted");
      await change({ permissions: ["chat:read"] });
      expect(await refusal()).toBe("model_not_allowed");
      await change({ models: ["openai/gpt-4o-mini"] });
      expect(await refusal()).toBe("provider_not_allowed");
      await change({ providers: undefined });
      expect(await refusal()).toBe("idempotency_conflict");
      expect(await refusal({ ...asked(), idempotency })).toBe("in_progress");
      const other = { ...asked(), idempotency: undefined };
      expect(await refusal(other)).toBe("rate_limited");
      await change({ rpm: undefined });
      expect(await refusal(other)).toBe("too_many_concurrent");
      await change({ concurrency: 2 });
      expect(await refusal(other)).toBe("key_limit_reached");
      await change({ limit: undefined });
      expect(await refusal(other)).toBe("insufficient_credits");
      expect(await refusal({ ...other, range: { most: 5n, least: 1n } })).toBe("held");
      await world.ledger.revokeKey(buyer.keyId);
      world.pass(1);
      expect(await refusal()).toBe("revoked");
    });

    test("a route without a model or provider is open to a key that is bound to some", async () => {
      const buyer = await customer(world.ledger, 1n, { models: ["m"], providers: [] });
      expect(await held(world.ledger, buyer, 1n, { model: undefined, provider: undefined })).toMatchObject({
        amount: 1n,
      });
    });
  });

  describe("requests a minute", () => {
    test("the window starts with the first request; one too many is told when it ends, and is not counted", async () => {
      const buyer = await customer(world.ledger, 1_000n, { rpm: 2 });
      expect(await held(world.ledger, buyer, 1n)).toMatchObject({
        rate: { limit: 2, remaining: 1, resetsInMs: MINUTE_MS },
      });
      world.pass(20_000);
      expect(await held(world.ledger, buyer, 1n)).toMatchObject({
        rate: { limit: 2, remaining: 0, resetsInMs: 40_000 },
      });
      world.pass(39_999);
      for (let times = 0; times < 3; times += 1) {
        expect(await world.ledger.hold(asks(buyer, 1n))).toEqual({
          outcome: "rate_limited",
          rate: { limit: 2, remaining: 0, resetsInMs: 1 },
        });
      }
      world.pass(1);
      expect(await held(world.ledger, buyer, 1n)).toMatchObject({
        rate: { limit: 2, remaining: 1, resetsInMs: MINUTE_MS },
      });
    });

    test("of 50 at once as many pass as the limit says, and another key of the account is its own", async () => {
      const buyer = await customer(world.ledger, 1_000n, { rpm: 7 });
      const other = await anotherKey(world.ledger, buyer.account, { rpm: 1 });
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, () => world.ledger.hold(asks(buyer, 1n))),
      );
      expect(tally(outcomes)).toEqual({ held: 7, rate_limited: 43 });
      expect((await world.ledger.hold(asks(other, 1n))).outcome).toBe("held");
    });
  });

  describe("calls at once", () => {
    test("an ended call makes room, however it ended", async () => {
      const buyer = await customer(world.ledger, 1_000n, { concurrency: 2 });
      const [first, second] = [await held(world.ledger, buyer, 1n), await held(world.ledger, buyer, 0n)];
      const full = { outcome: "too_many_concurrent", limit: 2 };
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual(full);
      await world.ledger.capture(captures(first, 1n));
      await held(world.ledger, buyer, 1n);
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual(full);
      await world.ledger.releaseHold(second.id, usageOf(second));
      await held(world.ledger, buyer, 1n);
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual(full);
      world.pass(LEASE_MS);
      await held(world.ledger, buyer, 1n);
      await held(world.ledger, buyer, 1n);
      expect(await world.ledger.hold(asks(buyer, 1n))).toEqual(full);
    });
  });

  describe("what a hold can be", () => {
    const cases = [
      ["all of it", 1_000n, undefined, 300n, 300n, { outcome: "held", amount: 300n }],
      ["what the balance bears", 200n, undefined, 300n, 100n, { outcome: "held", amount: 200n }],
      ["what the limit bears", 1_000n, 150n, 300n, 100n, { outcome: "held", amount: 150n }],
      ["just the least", 100n, 100n, 300n, 100n, { outcome: "held", amount: 100n }],
      [
        "too little balance",
        99n,
        undefined,
        300n,
        100n,
        { outcome: "insufficient_credits", needed: 100n, affordable: 99n },
      ],
      [
        "too little limit",
        1_000n,
        99n,
        300n,
        100n,
        { outcome: "key_limit_reached", needed: 100n, affordable: 99n, limit: 99n },
      ],
      ["balance below the limit", 50n, 99n, 300n, 100n, { outcome: "insufficient_credits", affordable: 50n }],
      ["limit below the balance", 99n, 50n, 300n, 100n, { outcome: "key_limit_reached", affordable: 50n }],
    ] as const;

    test.each(cases)("%s", async (_name, balance, limit, most, least, expected) => {
      const buyer = await customer(world.ledger, balance, { limit });
      const outcome = await world.ledger.hold(asks(buyer, 0n, { range: { most, least } }));
      expect(outcome.outcome === "held" ? { ...outcome.hold, ...outcome } : outcome).toMatchObject(expected);
      const amount = outcome.outcome === "held" ? outcome.hold.amount : 0n;
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance, held: amount });
    });

    test.each([
      ["balance", undefined, "insufficient_credits"],
      ["key limit", 1_050n, "key_limit_reached"],
    ] as const)("50 at once on a %s for 10 are 10", async (_name, limit, refusal) => {
      const buyer = await customer(world.ledger, limit === undefined ? 1_050n : 100_000n, { limit });
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, () => world.ledger.hold(asks(buyer, 100n))),
      );
      expect(tally(outcomes)).toEqual({ held: 10, [refusal]: 40 });
      expect(await purse(world.ledger, buyer.account)).toMatchObject({ held: 1_000n });
      const refused = outcomes.find(({ outcome }) => outcome === refusal);
      expect(refused).toMatchObject({ affordable: 50n });
    });

    test("the keys of one account share its balance", async () => {
      const one = await customer(world.ledger, 1_000n);
      const two = await anotherKey(world.ledger, one.account);
      const outcomes = await Promise.all(
        Array.from({ length: 40 }, (_, n) => world.ledger.hold(asks(n % 2 ? one : two, 100n))),
      );
      expect(tally(outcomes)).toEqual({ held: 10, insufficient_credits: 30 });
    });

    test("the customer's own key at the provider: the fee is held, and the key comes along", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const own = { masterKeyId: "m1", sealed: new Uint8Array([1, 2, 3]), last4: "wxyz" };
      await world.ledger.setProviderKey(buyer.account, "openai", own);
      const ownKeyRange = { most: 5n, least: 5n };
      const hold = await held(world.ledger, buyer, 300n, { ownKeyRange });
      expect(hold.amount).toBe(5n);
      expect(Buffer.from(hold.providerKey?.sealed ?? [])).toEqual(Buffer.from(own.sealed));
      expect(hold.providerKey).toMatchObject({ masterKeyId: "m1", last4: "wxyz" });
      // Only where the route offers it, and only for that provider.
      expect(await held(world.ledger, buyer, 300n)).toMatchObject({ amount: 300n, providerKey: undefined });
      expect(await held(world.ledger, buyer, 300n, { ownKeyRange, provider: "other" })).toMatchObject({
        amount: 300n,
        providerKey: undefined,
      });
      await world.ledger.deleteProviderKey(buyer.account, "openai");
      expect(await held(world.ledger, buyer, 300n, { ownKeyRange })).toMatchObject({
        amount: 300n,
        providerKey: undefined,
      });
    });

    test("the customer's own key: who can pay the fee needs no money for the price", async () => {
      const buyer = await customer(world.ledger, 7n);
      const own = { masterKeyId: "m1", sealed: new Uint8Array([1, 2, 3]), last4: "wxyz" };
      await world.ledger.setProviderKey(buyer.account, "openai", own);
      const ask = (ownKeyRange: { most: bigint; least: bigint }) =>
        world.ledger.hold(asks(buyer, 300n, { ownKeyRange }));
      expect(await ask({ most: 8n, least: 8n })).toMatchObject({
        outcome: "insufficient_credits",
        needed: 8n,
        affordable: 7n,
      });
      expect(await ask({ most: 8n, least: 5n })).toMatchObject({ outcome: "held", hold: { amount: 7n } });
    });
  });

  describe("a lease that is over", () => {
    test("frees what was held at the next hold of the account, and only then", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      await held(world.ledger, buyer, 100n);
      world.pass(LEASE_MS - 1);
      expect((await world.ledger.hold(asks(buyer, 100n))).outcome).toBe("insufficient_credits");
      world.pass(1);
      expect(await held(world.ledger, buyer, 100n)).toMatchObject({ amount: 100n });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 100n, held: 100n });
    });

    test("is freed in full before a call is refused for what it held, however many lapsed at once", async () => {
      const buyer = await customer(world.ledger, 900n, { limit: 900n, concurrency: 900 });
      const idempotency = { hash: randomId(), fingerprint: "f" };
      const asked = Array.from({ length: 449 }, () => asks(buyer, 2n));
      await Promise.all(asked.map((each) => world.ledger.hold(each)));
      // The last to lapse, and so in no first batch.
      await held(world.ledger, buyer, 2n, { idempotency, leaseMs: LEASE_MS + 1 });
      world.pass(LEASE_MS + 1);
      expect(await held(world.ledger, buyer, 900n, { idempotency })).toMatchObject({ amount: 900n });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 900n, held: 900n });
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("is prolonged by a renewal, which names what is gone", async () => {
      const buyer = await customer(world.ledger, 100n);
      const hold = await held(world.ledger, buyer, 60n);
      world.pass(LEASE_MS - 1);
      expect(await world.ledger.renewHolds([hold.id, "nothing"], LEASE_MS)).toEqual(["nothing"]);
      world.pass(LEASE_MS - 1);
      expect((await world.ledger.hold(asks(buyer, 60n))).outcome).toBe("insufficient_credits");
      await world.ledger.capture(captures(hold, 60n));
      expect(await world.ledger.renewHolds([hold.id], LEASE_MS)).toEqual([hold.id]);
    });

    test("is swept, a bounded number at a time, with what hangs on it", async () => {
      while ((await world.ledger.sweepHolds()) > 0);
      const buyer = await customer(world.ledger, 10_000n, { concurrency: 1_000 });
      const asked = Array.from({ length: 450 }, () => asks(buyer, 10n));
      await Promise.all(asked.map((each) => world.ledger.hold(each)));
      const alive = await held(world.ledger, buyer, 10n, { leaseMs: 10 * LEASE_MS });
      world.pass(LEASE_MS);
      let swept = 0;
      let rounds = 0;
      for (let freed = 1; freed > 0; rounds += 1) {
        freed = await world.ledger.sweepHolds();
        swept += freed;
      }
      expect(swept).toBe(450);
      expect(rounds).toBeGreaterThan(2);
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 10_000n, held: 10n });
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ held: 10n });
      await world.ledger.releaseHold(alive.id, usageOf(alive));
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });
  });
}
