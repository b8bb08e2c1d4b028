import { describe, expect, test } from "vitest";
import type { Alert } from "../../server/ledger/account-ledger.ts";
import {
  account,
  anotherKey,
  asks,
  type Customer,
  captures,
  customer,
  held,
  purse,
  secret,
  spend,
  usageOf,
} from "./customers.ts";
import { ALL, LEASE_MS, type World } from "./world.ts";

const DAY_MS = 86_400_000;

/** Crossings that no ordinary call makes. */
export function alertContract(world: World): void {
  /** All that is due of this account, and ended: what comes later is another crossing. */
  async function told(of: string): Promise<readonly Alert[]> {
    const taken = (await world.ledger.takeAlerts(ALL, 0)).filter(({ account: owner }) => owner === of);
    for (const { id } of taken) await world.ledger.endAlert(id);
    return taken;
  }
  const kinds = async (of: string) => (await told(of)).map(({ kind }) => kind);

  describe("alerts at the edges", () => {
    test("a capture after the sweep crosses by what it could take", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      const late = await held(world.ledger, buyer, 100n);
      world.pass(LEASE_MS);
      const other = await held(world.ledger, buyer, 15n);
      const low = { lowBalance: 50n };
      expect(await world.ledger.capture(captures(late, 100n, low))).toMatchObject({
        charged: 85n,
        shortfall: 15n,
      });
      expect(await told(buyer.account)).toMatchObject([
        { kind: "low_balance", amount: 15n, threshold: 50n },
        { kind: "key_limit_80", amount: 85n, threshold: 100n },
      ]);
      await world.ledger.capture(captures(late, 100n, low));
      expect(await told(buyer.account)).toEqual([]);
      await world.ledger.capture(captures(other, 15n, low));
      expect(await kinds(buyer.account)).toEqual(["key_limit_100"]);
    });

    test("a hold, a release and a free call cross nothing", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      const low = { lowBalance: 100n };
      const released = await held(world.ledger, buyer, 100n);
      await world.ledger.releaseHold(released.id, usageOf(released));
      const free = await held(world.ledger, buyer, 100n);
      await world.ledger.capture(captures(free, 0n, low));
      expect(await told(buyer.account)).toEqual([]);
      await spend(world.ledger, buyer, 80n, low);
      expect(await kinds(buyer.account)).toEqual(["low_balance", "key_limit_80"]);
      await spend(world.ledger, buyer, 0n, low);
      expect(await told(buyer.account)).toEqual([]);
    });

    test("a raised limit is crossed again", async () => {
      const buyer = await customer(world.ledger, 10_000n, { limit: 100n });
      await spend(world.ledger, buyer, 100n);
      expect(await kinds(buyer.account)).toEqual(["key_limit_80", "key_limit_100"]);
      await world.ledger.changeKey(buyer.keyId, { limit: 200n });
      await spend(world.ledger, buyer, 59n);
      expect(await told(buyer.account)).toEqual([]);
      await spend(world.ledger, buyer, 1n);
      expect(await told(buyer.account)).toMatchObject([
        { kind: "key_limit_80", amount: 160n, threshold: 200n },
      ]);
    });

    describe("a call that is refused because too little of the key's limit is left", () => {
      const refused = async (buyer: Customer, amount: bigint) =>
        expect((await world.ledger.hold(asks(buyer, amount))).outcome).toBe("key_limit_reached");

      test("tells that the limit is used up, once for each limit", async () => {
        const buyer = await customer(world.ledger, 10_000n, { label: "prod", limit: 100n });
        await spend(world.ledger, buyer, 90n);
        expect(await kinds(buyer.account)).toEqual(["key_limit_80"]);
        await refused(buyer, 11n);
        const { account: of, keyId } = buyer;
        const facts = { account: of, keyId, keyLabel: "prod", at: world.now() };
        expect(await told(of)).toMatchObject([
          { ...facts, kind: "key_limit_100", amount: 90n, threshold: 100n },
        ]);
        await refused(buyer, 11n);
        await spend(world.ledger, buyer, 10n);
        await refused(buyer, 1n);
        expect(await told(of)).toEqual([]);
        await world.ledger.changeKey(buyer.keyId, { limit: 110n });
        await refused(buyer, 11n);
        expect(await told(of)).toMatchObject([{ kind: "key_limit_100", amount: 100n, threshold: 110n }]);
      });

      test("tells nothing that is told: all of it was spent", async () => {
        const buyer = await customer(world.ledger, 10_000n, { limit: 100n });
        await spend(world.ledger, buyer, 100n);
        expect(await kinds(buyer.account)).toEqual(["key_limit_80", "key_limit_100"]);
        await refused(buyer, 1n);
        expect(await told(buyer.account)).toEqual([]);
      });

      test("tells again when the limit has started again", async () => {
        const buyer = await customer(world.ledger, 10_000n, { limit: 100n, limitReset: "daily" });
        for (let day = 0; day < 2; day += 1) {
          await spend(world.ledger, buyer, 95n);
          await refused(buyer, 6n);
          await refused(buyer, 6n);
          expect(await kinds(buyer.account)).toEqual(["key_limit_80", "key_limit_100"]);
          world.pass(DAY_MS);
        }
      });

      test("tells nothing below four fifths, nor while a call of the key may leave some of what it holds", async () => {
        const buyer = await customer(world.ledger, 10_000n, { limit: 100n });
        await spend(world.ledger, buyer, 79n);
        await refused(buyer, 22n);
        expect(await told(buyer.account)).toEqual([]);
        await spend(world.ledger, buyer, 1n);
        expect(await kinds(buyer.account)).toEqual(["key_limit_80"]);
        const running = await held(world.ledger, buyer, 15n);
        await refused(buyer, 6n);
        expect(await told(buyer.account)).toEqual([]);
        await world.ledger.capture(captures(running, 14n));
        await spend(world.ledger, buyer, 6n);
        expect(await kinds(buyer.account)).toEqual(["key_limit_100"]);
      });

      test("is no crossing where the account's balance is what is too little", async () => {
        const buyer = await customer(world.ledger, 90n, { limit: 100n });
        await spend(world.ledger, buyer, 85n);
        expect(await kinds(buyer.account)).toEqual(["key_limit_80"]);
        expect((await world.ledger.hold(asks(buyer, 6n))).outcome).toBe("insufficient_credits");
        expect(await told(buyer.account)).toEqual([]);
      });

      test("tells an account that wishes it", async () => {
        for (const [keyLimit100, expected] of [
          [true, ["key_limit_100"]],
          [false, []],
        ] as const) {
          const buyer = await customer(world.ledger, 10_000n, { limit: 100n });
          await world.ledger.setAlertSettings(
            buyer.account,
            { lowBalance: undefined, keyLimit80: false, keyLimit100 },
            "none",
          );
          await spend(world.ledger, buyer, 95n);
          await refused(buyer, 6n);
          await refused(buyer, 6n);
          const recorded = await world.ledger.accountAlerts(buyer.account);
          expect(recorded.map(({ kind }) => kind)).toEqual(expected);
        }
      });
    });

    test("a limit of nothing, and a limit taken away, cross nothing", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      const running = await held(world.ledger, buyer, 90n);
      await world.ledger.changeKey(buyer.keyId, { limit: undefined });
      await world.ledger.capture(captures(running, 90n));
      expect(await told(buyer.account)).toEqual([]);
      const free = await anotherKey(world.ledger, buyer.account, { limit: 0n });
      await spend(world.ledger, free, 0n);
      expect(await told(buyer.account)).toEqual([]);
    });

    test.each([
      [79n, []],
      [80n, ["key_limit_80"]],
      [98n, ["key_limit_80"]],
      [99n, ["key_limit_80", "key_limit_100"]],
    ])("of a limit of 99 four fifths are not rounded down: %s", async (cost, expected) => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 99n });
      await spend(world.ledger, buyer, cost);
      expect(await kinds(buyer.account)).toEqual(expected);
    });

    test("both secrets of a key and each turn of its limit cross for the key as a whole", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, limitReset: "daily" });
      const next = secret();
      await world.ledger.rotateKey(buyer.keyId, next, 10 * DAY_MS, undefined);
      await spend(world.ledger, buyer, 45n);
      await spend(world.ledger, next, 45n);
      expect(await kinds(buyer.account)).toEqual(["key_limit_80"]);
      const overnight = await held(world.ledger, buyer, 10n, { leaseMs: 2 * DAY_MS });
      world.pass(DAY_MS);
      await world.ledger.capture(captures(overnight, 10n));
      expect(await told(buyer.account)).toEqual([]);
      await spend(world.ledger, next, 70n);
      expect(await told(buyer.account)).toMatchObject([{ kind: "key_limit_80", amount: 80n }]);
    });

    test("a token's account is told of its balance, and amounts beyond 2^53 are exact", async () => {
      const vast = 9_007_199_254_740_993n;
      const id = await account(world.ledger, vast + 1n);
      const payer = { kind: "account", account: id } as const;
      const hold = await held(world.ledger, { hash: "" }, 2n, { payer });
      await world.ledger.capture(captures(hold, 2n, { lowBalance: vast }));
      expect(await told(id)).toMatchObject([
        { kind: "low_balance", keyId: undefined, keyLabel: undefined, amount: vast - 1n, threshold: vast },
      ]);
      expect(await purse(world.ledger, id)).toEqual({ balance: vast - 1n, held: 0n });
    });

    test("ending or putting off one that is gone changes nothing", async () => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      await spend(world.ledger, buyer, 80n);
      const [only] = await told(buyer.account);
      await world.ledger.endAlert(only?.id ?? 0);
      await world.ledger.postponeAlert(only?.id ?? 0, 0);
      expect(only).toMatchObject({ kind: "key_limit_80" });
      expect(await told(buyer.account)).toEqual([]);
      await spend(world.ledger, buyer, 20n);
      const [next] = await told(buyer.account);
      // An id is never another alert's: an end that comes late hits nobody.
      expect(next?.id).toBeGreaterThan(only?.id ?? 0);
    });
  });
}
