import { describe, expect, test } from "vitest";
import type { UsageFacts } from "../../server/ledger/call-ledger.ts";
import type { Ledger, PaymentState } from "../../server/ledger/ledger.ts";
import {
  ALL,
  bring,
  claimed,
  HEIGHT,
  keep,
  LEASE_MS,
  randomId,
  request,
  STANDS,
  type Stand,
  type World,
} from "./world.ts";

type Move = (ledger: Ledger, id: string, fence: number) => Promise<string>;

/** Every step, and where it leads from each stand at which it is legal. */
const STEPS: Record<string, { move: Move; legal: Partial<Record<Stand, PaymentState>> }> = {
  beginSettle: { move: (l, id, f) => l.beginSettle(id, f, LEASE_MS), legal: { open: "settling" } },
  settled: { move: (l, id, f) => l.settled(id, f, "tx", undefined), legal: { settling: "settled" } },
  unknown: { move: (l, id, f) => l.unknown(id, f, "timeout", "hint"), legal: { settling: "unknown" } },
  release: {
    move: (l, id, f) => l.release(id, f, { reason: "x", watched: false, strikeMs: 0 }),
    legal: { open: "released", settling: "released" },
  },
  "release watched": {
    move: (l, id, f) => l.release(id, f, { reason: "x", watched: true, strikeMs: 0 }),
    legal: { open: "released", settling: "released" },
  },
  deliver: { move: (l, id, f) => l.deliver(id, f, keep("x")), legal: { settled: "delivered" } },
  park: { move: (l, id, f) => l.park(id, f, keep("x")), legal: { settled: "settled" } },
  credit: { move: (l, id, f) => l.credit(id, f, "x"), legal: { settled: "credited" } },
  "decide settled": {
    move: (l, id, f) => l.decide(id, f, { verdict: "settled", transaction: "tx" }, 0),
    legal: { taken_unknown: "settled", taken_watched: "credited" },
  },
  "decide absent": {
    move: (l, id, f) => l.decide(id, f, { verdict: "absent", reason: "expired" }, 0),
    legal: { taken_unknown: "released", taken_watched: "released" },
  },
  "decide undecided": {
    move: (l, id, f) => l.decide(id, f, { verdict: "undecided", reason: "too early" }, 0),
    legal: { taken_unknown: "unknown", taken_watched: "released" },
  },
};

export function stepContract(world: World): void {
  describe("steps", () => {
    const table = Object.entries(STEPS).flatMap(([name, { move, legal }]) =>
      STANDS.map((stand) => ({ name, move, stand, to: legal[stand] })),
    );

    test.each(table)("$name from $stand -> $to", async ({ move, stand, to }) => {
      const { ledger } = world;
      const asked = request();
      const fence = await bring(ledger, asked, stand);
      const before = await ledger.payment(asked.id);
      world.pass(5);
      for (const wrong of [fence - 1, fence + 1]) expect(await move(ledger, asked.id, wrong)).toBe("lost");
      expect(await ledger.payment(asked.id)).toEqual(before);
      expect(await move(ledger, asked.id, fence)).toBe(to === undefined ? "lost" : "ok");
      const after = await ledger.payment(asked.id);
      if (to === undefined) expect(after).toEqual(before);
      else expect(after).toMatchObject({ state: to, fence, updatedAt: world.now() });
      const owed = after?.state === "credited" ? asked.amount : 0n;
      expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(owed);
    });

    test.each(Object.entries(STEPS))("%s of a payment nobody knows is lost", async (_name, { move }) => {
      expect(await move(world.ledger, randomId(), 1)).toBe("lost");
    });

    test("record what they were told", async () => {
      const { ledger } = world;
      const asked = request();
      const fence = await claimed(ledger, asked);
      await ledger.beginSettle(asked.id, fence, LEASE_MS);
      expect(await ledger.payment(asked.id)).toMatchObject({ state: "settling", leased: true });
      await ledger.unknown(asked.id, fence, "timeout", "hint");
      expect(await ledger.payment(asked.id)).toMatchObject({
        reason: "timeout",
        transaction: "hint",
        leased: false,
      });
      const other = request();
      const otherFence = await bring(ledger, other, "settling");
      await ledger.settled(other.id, otherFence, "tx", undefined);
      expect(await ledger.payment(other.id)).toMatchObject({ transaction: "tx", leased: true });
    });

    test("the lease of a settlement begins with it", async () => {
      const asked = request();
      const fence = await claimed(world.ledger, asked);
      world.pass(LEASE_MS - 1);
      await world.ledger.beginSettle(asked.id, fence, LEASE_MS);
      world.pass(LEASE_MS - 1);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "settling", leased: true });
      expect(await world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)).toBe("lost");
      world.pass(1);
      expect(await world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)).toMatchObject({
        record: { state: "unknown" },
      });
    });

    test("a lease that ran out stops nobody before it is taken over", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settling");
      world.pass(LEASE_MS * 10);
      expect(await world.ledger.settled(asked.id, fence, "tx", undefined)).toBe("ok");
      const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
      expect(resumed).toMatchObject({ fence: fence + 1, record: { leased: true } });
      expect(await world.ledger.deliver(asked.id, fence, undefined)).toBe("lost");
      expect(await world.ledger.deliver(asked.id, fence + 1, undefined)).toBe("ok");
    });
  });

  describe("the usage of a delivered call", () => {
    test("is recorded in the step that delivers it, once, and not when that is lost", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      const account = `wallet:${asked.payer}`;
      const facts: UsageFacts = {
        tier: "x402",
        account,
        keyId: undefined,
        keyLabel: undefined,
        payer: asked.payer,
        route: asked.route,
        model: undefined,
        provider: undefined,
        promptTokens: undefined,
        completionTokens: undefined,
        estimated: false,
        held: 0n,
        upstreamCost: undefined,
        status: 200,
        upstreamStatus: 418,
        ms: 12,
        transaction: "tx",
        notCharged: undefined,
      };
      const usage = { facts, charged: asked.amount };
      const recorded = () => world.ledger.usage({ account, limit: ALL });
      expect(await world.ledger.deliver(asked.id, fence + 1, undefined, usage)).toBe("lost");
      expect(await recorded()).toEqual([]);
      expect(await world.ledger.deliver(asked.id, fence, undefined, usage)).toBe("ok");
      expect(await world.ledger.deliver(asked.id, fence, undefined, usage)).toBe("lost");
      expect(await recorded()).toEqual([
        { ...facts, id: expect.any(Number), at: world.now(), charged: asked.amount },
      ]);
    });
  });

  describe("credit", () => {
    test("is one journal entry, and the account's balance, in one step", async () => {
      const { ledger } = world;
      const first = request();
      const second = request({ payer: first.payer, amount: 2n ** 60n + 1n });
      const account = `wallet:${first.payer}`;
      await bring(ledger, first, "credited");
      const at = world.now();
      world.pass(7);
      const fence = await bring(ledger, second, "settled");
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, () => ledger.credit(second.id, fence, "upstream_failed")),
      );
      expect(outcomes.filter((outcome) => outcome === "ok")).toHaveLength(1);
      const entry = { account, kind: "owed_credit" };
      const sum = first.amount + second.amount;
      expect(await ledger.journal(account)).toEqual([
        { ...entry, reference: `payment:${first.id}`, amount: first.amount, balance: first.amount, at },
        { ...entry, reference: `payment:${second.id}`, amount: second.amount, balance: sum, at: world.now() },
      ]);
      expect(await ledger.balance(account)).toBe(sum);
      expect((await ledger.payment(second.id))?.reason).toBe("upstream_failed");
    });

    test("an account nobody wrote to has nothing", async () => {
      expect(await world.ledger.balance("wallet:nobody")).toBe(0n);
      expect(await world.ledger.journal("wallet:nobody")).toEqual([]);
    });
  });

  describe("resume", () => {
    const resumable: readonly Stand[] = ["parked"];

    test.each(STANDS)("%s", async (stand) => {
      const asked = request();
      const fence = await bring(world.ledger, asked, stand);
      expect(await world.ledger.resume(asked.id, randomId(), LEASE_MS, randomId())).toBe("lost");
      const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
      if (resumable.includes(stand)) {
        const record = await world.ledger.payment(asked.id);
        expect(resumed).toEqual({ fence: fence + 1, record });
        expect(record).toMatchObject({ state: "settled", fence: fence + 1, leased: true });
      } else {
        expect(resumed).toBe("lost");
      }
    });

    test("one of many at a time", async () => {
      const asked = request();
      await bring(world.ledger, asked, "settled");
      world.pass(LEASE_MS);
      const all = await Promise.all(
        Array.from({ length: 20 }, () =>
          world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId()),
        ),
      );
      expect(all.filter((outcome) => outcome !== "lost")).toHaveLength(1);
    });
  });

  describe("renew", () => {
    const held: readonly Stand[] = ["open", "settling", "settled", "taken_unknown", "taken_watched"];

    test.each(STANDS)("%s", async (stand) => {
      const { ledger } = world;
      const asked = request();
      const fence = await bring(ledger, asked, stand);
      const lost = held.includes(stand) ? [] : [asked.id];
      world.pass(LEASE_MS - 1);
      expect(await ledger.renew([{ id: asked.id, fence }], LEASE_MS)).toEqual(lost);
      expect(await ledger.renew([{ id: asked.id, fence: fence - 1 }], LEASE_MS)).toEqual([asked.id]);
      world.pass(LEASE_MS - 1);
      expect((await ledger.payment(asked.id))?.leased).toBe(held.includes(stand));
      world.pass(1);
      expect((await ledger.payment(asked.id))?.leased).toBe(false);
    });

    test("names the lost ones among many", async () => {
      const mine = request();
      const gone = request();
      const fence = await bring(world.ledger, mine, "open");
      await bring(world.ledger, gone, "delivered");
      const leases = [
        { id: gone.id, fence: 1 },
        { id: mine.id, fence },
        { id: randomId(), fence: 1 },
      ];
      expect(await world.ledger.renew(leases, LEASE_MS)).toEqual([gone.id, leases[2]?.id]);
      expect(await world.ledger.renew([], LEASE_MS)).toEqual([]);
    });
  });
}
