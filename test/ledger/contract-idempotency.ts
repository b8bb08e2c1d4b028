import { describe, expect, test } from "vitest";
import {
  anotherKey,
  asks,
  type Customer,
  captures,
  customer,
  held,
  purse,
  spend,
  tally,
  usageOf,
} from "./customers.ts";
import { keep, LEASE_MS, randomId, type World } from "./world.ts";

export function idempotencyContract(world: World): void {
  describe("the client's idempotency key", () => {
    const first = () => ({ hash: randomId(), fingerprint: "the request" });
    const said = (outcome: Awaited<ReturnType<typeof world.ledger.hold>>) =>
      outcome.outcome === "replay" && outcome.response !== undefined
        ? new TextDecoder().decode(outcome.response.sealed)
        : undefined;

    test("in progress while the call runs; then its answer, and no second charge", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const hold = await held(world.ledger, buyer, 100n, { idempotency });
      const repeat = () => world.ledger.hold(asks(buyer, 100n, { idempotency }));
      expect(await repeat()).toEqual({ outcome: "in_progress" });
      await world.ledger.capture(captures(hold, 80n, { keep: keep("the answer", 1_000) }));
      expect(said(await repeat())).toBe("the answer");
      expect(
        await world.ledger.hold(
          asks(buyer, 100n, { idempotency: { ...idempotency, fingerprint: "another" } }),
        ),
      ).toEqual({ outcome: "idempotency_conflict" });
      world.pass(999);
      expect(said(await repeat())).toBe("the answer");
      world.pass(1);
      expect(await repeat()).toEqual({ outcome: "replay", response: undefined });
      await world.ledger.sweepHolds();
      expect(await repeat()).toEqual({ outcome: "replay", response: undefined });
      expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 920n, held: 0n });
    });

    test("an answer that was not whole at the capture is kept later", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const hold = await held(world.ledger, buyer, 100n, { idempotency });
      await world.ledger.keepAnswer(hold.id, keep("too early"));
      expect(await world.ledger.hold(asks(buyer, 100n, { idempotency }))).toEqual({ outcome: "in_progress" });
      await world.ledger.capture(captures(hold, 80n));
      expect(await world.ledger.hold(asks(buyer, 100n, { idempotency }))).toEqual({
        outcome: "replay",
        response: undefined,
      });
      await world.ledger.keepAnswer(hold.id, keep("whole"));
      expect(said(await world.ledger.hold(asks(buyer, 100n, { idempotency })))).toBe("whole");
    });

    test.each(["released", "lapsed", "swept"] as const)("is free again when the call was %s", async (end) => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const hold = await held(world.ledger, buyer, 100n, { idempotency });
      if (end === "released") await world.ledger.releaseHold(hold.id, usageOf(hold));
      else world.pass(LEASE_MS);
      if (end === "swept") await world.ledger.sweepHolds();
      const second = await held(world.ledger, buyer, 100n, {
        idempotency: { ...idempotency, fingerprint: "another" },
      });
      // What the first call still does is not about the second one.
      await world.ledger.keepAnswer(hold.id, keep("of the first"));
      if (end !== "released") await world.ledger.capture(captures(hold, 1n, { keep: keep("of the first") }));
      else await world.ledger.releaseHold(hold.id, usageOf(hold));
      const repeat = asks(buyer, 100n, { idempotency: { ...idempotency, fingerprint: "another" } });
      expect(await world.ledger.hold(repeat)).toEqual({ outcome: "in_progress" });
      await world.ledger.capture(captures(second, 1n, { keep: keep("of the second") }));
      expect(said(await world.ledger.hold(repeat))).toBe("of the second");
    });

    test("of a call that was given back, and which another call has by now: the first leaves no answer under it", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const hold = await held(world.ledger, buyer, 100n, { idempotency });
      await world.ledger.capture(captures(hold, 80n));
      const { id, account, keyId } = hold;
      await world.ledger.refund({ id, account, keyId, usage: usageOf(hold) });
      const second = await held(world.ledger, buyer, 100n, { idempotency });
      await world.ledger.capture(captures(second, 80n));
      await world.ledger.keepAnswer(hold.id, keep("of the first"));
      expect(await world.ledger.hold(asks(buyer, 100n, { idempotency }))).toEqual({
        outcome: "replay",
        response: undefined,
      });
    });

    describe("of a call whose hold was swept before its capture", () => {
      async function late(balance: bigint) {
        const buyer = await customer(world.ledger, balance);
        const idempotency = first();
        const hold = await held(world.ledger, buyer, 100n, { idempotency });
        world.pass(LEASE_MS);
        await world.ledger.sweepHolds();
        const repeat = () => world.ledger.hold(asks(buyer, 100n, { idempotency }));
        return { buyer, idempotency, hold, repeat };
      }

      test("stands for it again: its repeat is answered, not charged", async () => {
        const { buyer, idempotency, hold, repeat } = await late(1_000n);
        const capture = captures(hold, 80n, { idempotency, keep: keep("late") });
        expect(await world.ledger.capture(capture)).toMatchObject({ charged: 80n, shortfall: 0n });
        expect(said(await repeat())).toBe("late");
        expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 920n, held: 0n });
      });

      test("stands for it again, and keeps an answer that is whole later", async () => {
        const { idempotency, hold, repeat } = await late(1_000n);
        await world.ledger.capture(captures(hold, 80n, { idempotency }));
        expect(await repeat()).toEqual({ outcome: "replay", response: undefined });
        await world.ledger.keepAnswer(hold.id, keep("whole"));
        expect(said(await repeat())).toBe("whole");
      });

      test("is another call's by now: that one is charged, this one is not", async () => {
        const { buyer, idempotency, hold, repeat } = await late(1_000n);
        const next = await held(world.ledger, buyer, 100n, { idempotency });
        const capture = captures(hold, 80n, { idempotency, keep: keep("late") });
        expect(await world.ledger.capture(capture)).toEqual({
          outcome: "captured",
          charged: 0n,
          shortfall: 80n,
        });
        expect(await repeat()).toEqual({ outcome: "in_progress" });
        await world.ledger.capture(captures(next, 70n, { idempotency, keep: keep("the next") }));
        await world.ledger.keepAnswer(hold.id, keep("late"));
        expect(said(await repeat())).toBe("the next");
        expect(await purse(world.ledger, buyer.account)).toEqual({ balance: 930n, held: 0n });
      });

      test("stays free where the account could not bear all of it", async () => {
        const { buyer, idempotency, hold, repeat } = await late(100n);
        const other = await held(world.ledger, buyer, 60n);
        const capture = captures(hold, 80n, { idempotency, keep: keep("late") });
        expect(await world.ledger.capture(capture)).toMatchObject({ charged: 40n, shortfall: 40n });
        await world.ledger.releaseHold(other.id, usageOf(other));
        await world.ledger.creditAccount(buyer.account, 100n, "more");
        expect((await repeat()).outcome).toBe("held");
      });
    });

    test("belongs to the account: all its keys, nobody else's", async () => {
      const one = await customer(world.ledger, 1_000n);
      const two = await anotherKey(world.ledger, one.account);
      const stranger = await customer(world.ledger, 1_000n);
      const idempotency = first();
      await held(world.ledger, one, 100n, { idempotency });
      const by = async (payer: Customer) =>
        (await world.ledger.hold(asks(payer, 100n, { idempotency }))).outcome;
      expect(await by(two)).toBe("in_progress");
      expect(await by(stranger)).toBe("held");
    });

    test("is forgotten after a day", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const hold = await held(world.ledger, buyer, 100n, { idempotency });
      await world.ledger.capture(captures(hold, 80n));
      world.pass(86_400_000 - 1);
      expect((await world.ledger.hold(asks(buyer, 100n, { idempotency }))).outcome).toBe("replay");
      world.pass(1);
      const again = await held(world.ledger, buyer, 100n, { idempotency });
      await world.ledger.releaseHold(again.id, usageOf(again));
      await spend(world.ledger, buyer, 1n);
      expect(await world.ledger.balance(buyer.account)).toBe(919n);
    });

    test.each(["released", "captured"] as const)(
      "of a call that ran for more than a day is the next call's, also when the first is %s",
      async (end) => {
        const buyer = await customer(world.ledger, 1_000n);
        const idempotency = first();
        const long = await held(world.ledger, buyer, 100n, { idempotency, leaseMs: 2 * 86_400_000 });
        world.pass(86_400_000);
        const next = await held(world.ledger, buyer, 100n, { idempotency, leaseMs: 2 * 86_400_000 });
        if (end === "released") await world.ledger.releaseHold(long.id, usageOf(long));
        else await world.ledger.capture(captures(long, 80n, { keep: keep("of the long call") }));
        const repeat = asks(buyer, 100n, { idempotency });
        expect(await world.ledger.hold(repeat)).toEqual({ outcome: "in_progress" });
        await world.ledger.capture(captures(next, 80n, { keep: keep("of the next") }));
        expect(said(await world.ledger.hold(repeat))).toBe("of the next");
      },
    );

    test("of 20 repeats at once one is held", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const idempotency = first();
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, () => world.ledger.hold(asks(buyer, 10n, { idempotency }))),
      );
      expect(tally(outcomes)).toEqual({ held: 1, in_progress: 19 });
    });
  });
}
