import { describe, expect, test } from "vitest";
import type { ClaimOutcome } from "../../server/ledger/ledger.ts";
import {
  ALL,
  bring,
  claimed,
  HEIGHT,
  keep,
  LEASE_MS,
  randomId,
  request,
  type Stand,
  said,
  taken,
  type World,
} from "./world.ts";

type Outcome = ClaimOutcome["outcome"];

/** What the second claim of one payment comes to: [stand, lease, same request, another request]. */
const RECORDED: readonly (readonly [Stand, "live" | "dead", Outcome, Outcome])[] = [
  ["open", "live", "in_progress", "used"],
  ["open", "dead", "claimed", "claimed"],
  ["settling", "live", "in_progress", "used"],
  ["settling", "dead", "undecided", "undecided"],
  ["unknown", "live", "undecided", "undecided"],
  ["taken_unknown", "live", "undecided", "undecided"],
  ["taken_unknown", "dead", "undecided", "undecided"],
  ["settled", "live", "in_progress", "used"],
  ["settled", "dead", "resumed", "used"],
  ["parked", "live", "resumed", "used"],
  ["delivered", "live", "delivered", "used"],
  ["delivered", "dead", "delivered", "used"],
  ["credited", "live", "credited", "credited"],
  ["released", "live", "claimed", "claimed"],
  ["watched", "live", "claimed", "claimed"],
  ["taken_watched", "live", "claimed", "claimed"],
];

export function claimContract(world: World): void {
  describe("claim of a recorded payment", () => {
    test.each(RECORDED)("%s, lease %s: same request %s, another %s", async (stand, lease, same, another) => {
      for (const [fingerprint, expected] of [
        [undefined, same],
        [randomId(), another],
      ] as const) {
        const asked = request();
        const fence = await bring(world.ledger, asked, stand);
        if (lease === "dead") world.pass(LEASE_MS);
        const outcome = await world.ledger.claim({ ...asked, fingerprint: fingerprint ?? asked.fingerprint });
        expect(outcome.outcome).toBe(expected);
        if (outcome.outcome === "claimed" || outcome.outcome === "resumed")
          expect(outcome.fence).toBe(fence + 1);
        const record = await world.ledger.payment(asked.id);
        if ("record" in outcome) expect(outcome.record).toEqual(record);
        expect(record?.fingerprint).toBe(
          expected === "claimed" ? (fingerprint ?? asked.fingerprint) : asked.fingerprint,
        );
      }
    });

    test("a lease is dead at its very end, not one millisecond before", async () => {
      const asked = request();
      await bring(world.ledger, asked, "settled");
      world.pass(LEASE_MS - 1);
      expect((await world.ledger.claim(asked)).outcome).toBe("in_progress");
      world.pass(1);
      expect((await world.ledger.claim(asked)).outcome).toBe("resumed");
    });

    test("re-opening takes the new request's fields and keeps the watch", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "watched");
      const created = world.now();
      world.pass(10);
      const anew = { ...asked, fingerprint: randomId(), route: "GET /x", claimHeight: HEIGHT + 9n };
      expect(await world.ledger.claim(anew)).toEqual({
        outcome: "claimed",
        fence: fence + 1,
        upfront: false,
        createdAt: created,
      });
      expect(await world.ledger.payment(asked.id)).toMatchObject({
        state: "open",
        fingerprint: anew.fingerprint,
        route: "GET /x",
        claimHeight: HEIGHT + 9n,
        watched: true,
        leased: true,
        reason: undefined,
        transaction: undefined,
        createdAt: created,
        updatedAt: created + 10,
      });
      expect((await world.ledger.listUndecided(ALL)).map(({ id }) => id)).not.toContain(asked.id);
    });

    test("of what the last holder left nothing is the new one's: who had left then is here now", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settling");
      await world.ledger.orphan(asked.id, fence);
      await world.ledger.unknown(asked.id, fence, "timeout", "hint");
      const absent = { verdict: "absent", reason: "expired" } as const;
      await world.ledger.decide(asked.id, await taken(world.ledger, asked.id), absent, 0);
      await claimed(world.ledger, asked);
      const record = {
        state: "open",
        orphaned: false,
        transaction: undefined,
        reason: undefined,
        servings: 0,
      };
      expect(await world.ledger.payment(asked.id)).toMatchObject(record);
    });

    test("a watch that is being decided loses to a new claim", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "taken_watched");
      await claimed(world.ledger, asked);
      expect(await world.ledger.decide(asked.id, fence, { verdict: "settled", transaction: "tx" }, 0)).toBe(
        "lost",
      );
    });

    test("re-opening passes the checks of a new payment", async () => {
      const asked = request({ maxInFlight: 1 });
      await bring(world.ledger, asked, "released");
      expect((await world.ledger.claim({ ...asked, admitNew: false })).outcome).toBe("not_admitted");
      await claimed(world.ledger, { ...asked, id: randomId(), fingerprint: randomId() });
      expect((await world.ledger.claim(asked)).outcome).toBe("too_many_in_flight");
      expect((await world.ledger.payment(asked.id))?.state).toBe("released");
    });

    test("50 concurrent claims of one payment: one is claimed", async () => {
      const asked = request();
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => world.ledger.claim(asked)));
      expect(outcomes.filter(({ outcome }) => outcome === "claimed")).toHaveLength(1);
      expect(outcomes.filter(({ outcome }) => outcome === "in_progress")).toHaveLength(49);
    });

    test("50 concurrent claims of one parked payment: one resumes", async () => {
      const asked = request();
      await bring(world.ledger, asked, "parked");
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => world.ledger.claim(asked)));
      expect(outcomes.filter(({ outcome }) => outcome === "resumed")).toHaveLength(1);
      expect(outcomes.filter(({ outcome }) => outcome === "in_progress")).toHaveLength(49);
    });

    test("one that was claimed anew and left open is still asked about, and credited if it landed", async () => {
      const asked = request({ identifierHash: randomId() });
      const fence = await bring(world.ledger, asked, "watched");
      const again = await claimed(world.ledger, asked);
      expect(await world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)).toBe("lost");
      expect(await world.ledger.decide(asked.id, again, { verdict: "settled", transaction: "tx" }, 0)).toBe(
        "lost",
      );
      world.pass(LEASE_MS);
      expect((await world.ledger.listUndecided(ALL)).map(({ id }) => id)).toContain(asked.id);
      const taken = await world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS);
      if (taken === "lost") throw new Error("Expected to take the record.");
      expect(taken.fence).toBeGreaterThan(fence);
      expect(taken.record).toMatchObject({ state: "released", watched: true });
      expect(await world.ledger.beginSettle(asked.id, again, LEASE_MS)).toBe("lost");
      const late = { verdict: "settled", transaction: "late" } as const;
      expect(await world.ledger.decide(asked.id, taken.fence, late, 0)).toBe("ok");
      expect(await world.ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
    });

    test.each([
      ["settles", "settled"],
      ["is unknown", "unknown"],
    ] as const)("its watch ends when it %s", async (_name, state) => {
      const asked = request();
      await bring(world.ledger, asked, "watched");
      await bring(world.ledger, asked, state);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state, watched: false });
    });

    test("letting go of it without a reason of one's own keeps the watch", async () => {
      const asked = request();
      await bring(world.ledger, asked, "watched");
      await bring(world.ledger, asked, "released");
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "released", watched: true });
    });

    test("counts how often a settled one is taken to be served, and forgets that its client had left", async () => {
      const asked = request();
      let fence = await bring(world.ledger, asked, "settled");
      for (const servings of [1, 2, 3]) {
        await world.ledger.orphan(asked.id, fence);
        await world.ledger.park(asked.id, fence, undefined);
        const again = await world.ledger.claim(asked);
        expect(again).toMatchObject({ outcome: "resumed", record: { servings, orphaned: false } });
        fence = again.outcome === "resumed" ? again.fence : 0;
      }
      await world.ledger.park(asked.id, fence, undefined);
      const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
      expect(resumed).toMatchObject({ record: { servings: 4 } });
    });

    test("stores the record whole, money and heights beyond 2^53 included", async () => {
      const asked = request({ amount: 2n ** 62n + 1n, claimHeight: 2n ** 61n + 1n, x402Version: 1 });
      const fence = await claimed(world.ledger, asked);
      const { identifierHash, admitNew, leaseMs, maxInFlight, ...recorded } = asked;
      expect(await world.ledger.payment(asked.id)).toEqual({
        ...recorded,
        state: "open",
        fence,
        transaction: undefined,
        reason: undefined,
        watched: false,
        leased: true,
        orphaned: false,
        servings: 0,
        createdAt: world.now(),
        updatedAt: world.now(),
      });
      expect(await world.ledger.payment(randomId())).toBeUndefined();
    });
  });

  describe("stored responses", () => {
    test.each(["delivered", "parked"] as const)("%s: kept until they expire, then swept", async (stand) => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      const finish = stand === "delivered" ? "deliver" : "park";
      expect(await world.ledger[finish](asked.id, fence, keep("hello", 1_000))).toBe("ok");
      world.pass(999);
      const first = await world.ledger.claim(asked);
      expect(first.outcome).toBe(stand === "delivered" ? "delivered" : "resumed");
      expect(said(first)).toBe("hello");
      world.pass(LEASE_MS);
      const late = await world.ledger.claim(asked);
      expect(late.outcome).toBe(first.outcome);
      expect(said(late)).toBeUndefined();
      expect(await world.ledger.sweepResponses()).toBeGreaterThanOrEqual(1);
      expect(await world.ledger.sweepResponses()).toBe(0);
    });

    test("a sweep leaves what has not expired", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      await world.ledger.deliver(asked.id, fence, keep("hello", 1_000));
      await world.ledger.sweepResponses();
      expect(said(await world.ledger.claim(asked))).toBe("hello");
    });

    test("a later response takes the earlier one's place; delivering without one keeps it", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      await world.ledger.park(asked.id, fence, keep("first"));
      const again = await world.ledger.claim(asked);
      if (again.outcome !== "resumed") throw new Error(again.outcome);
      await world.ledger.park(asked.id, again.fence, keep("second"));
      const last = await world.ledger.claim(asked);
      if (last.outcome !== "resumed") throw new Error(last.outcome);
      await world.ledger.deliver(asked.id, last.fence, undefined);
      expect(said(await world.ledger.claim(asked))).toBe("second");
    });

    test("one kept with the settlement is there for whoever takes over, and stays when it is delivered", async () => {
      const { ledger } = world;
      const asked = request();
      const fence = await bring(ledger, asked, "settling");
      expect(await ledger.settled(asked.id, fence + 1, "tx", keep("forged"))).toBe("lost");
      expect(await ledger.settled(asked.id, fence, "tx", keep("whole"))).toBe("ok");
      expect(await ledger.settled(asked.id, fence, "tx", keep("again"))).toBe("lost");
      expect(said(await ledger.claim(asked))).toBeUndefined();
      world.pass(LEASE_MS);
      const resumed = await ledger.claim(asked);
      expect(resumed.outcome).toBe("resumed");
      expect(said(resumed)).toBe("whole");
      await ledger.deliver(asked.id, fence + 1, undefined);
      expect(said(await ledger.claim(asked))).toBe("whole");
    });

    test("a lost step stores nothing", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      expect(await world.ledger.deliver(asked.id, fence + 1, keep("forged"))).toBe("lost");
      await world.ledger.deliver(asked.id, fence, undefined);
      expect(await world.ledger.claim(asked)).toMatchObject({ outcome: "delivered", response: undefined });
    });
  });
}
