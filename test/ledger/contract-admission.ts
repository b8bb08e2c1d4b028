import { describe, expect, test } from "vitest";
import type { ClaimOutcome, ClaimRequest } from "../../server/ledger/ledger.ts";
import {
  bring,
  claimed,
  keep,
  LEASE_MS,
  randomId,
  request,
  STANDS,
  type Stand,
  said,
  taken,
  type World,
} from "./world.ts";

/** Which stands make a record the twin of a new payment for the same request. */
const TWINS: readonly (readonly [Stand, "live" | "dead"])[] = [
  ["unknown", "live"],
  ["taken_unknown", "live"],
  ["settling", "dead"],
  ["settled", "dead"],
  ["parked", "live"],
];
const NO_TWINS: readonly (readonly [Stand, "live" | "dead"])[] = [
  ["open", "live"],
  ["open", "dead"],
  ["settling", "live"],
  ["settled", "live"],
  ["delivered", "live"],
  ["credited", "live"],
  ["released", "live"],
  ["watched", "live"],
];

export function admissionContract(world: World): void {
  describe("identifier", () => {
    const busy = STANDS.filter((stand) => !["released", "watched", "taken_watched"].includes(stand));

    test.each(busy)(
      "bound to a payment that is %s: replay for the same request, else conflict",
      async (stand) => {
        const asked = request({ identifierHash: randomId() });
        await bring(world.ledger, asked, stand);
        const record = await world.ledger.payment(asked.id);
        const other = { ...asked, id: randomId() };
        expect(await world.ledger.claim(other)).toEqual({
          outcome: "identifier_replay",
          record,
          response: undefined,
        });
        expect(await world.ledger.claim({ ...other, fingerprint: randomId() })).toEqual({
          outcome: "identifier_conflict",
          record,
        });
        expect(await world.ledger.payment(other.id)).toBeUndefined();
      },
    );

    test("replays the stored response until it expires", async () => {
      const asked = request({ identifierHash: randomId() });
      const fence = await bring(world.ledger, asked, "settled");
      await world.ledger.deliver(asked.id, fence, keep("hello", 500));
      const other = { ...asked, id: randomId() };
      expect(said(await world.ledger.claim(other))).toBe("hello");
      world.pass(500);
      expect(await world.ledger.claim(other)).toMatchObject({
        outcome: "identifier_replay",
        response: undefined,
      });
    });

    test.each([
      ["released", 0],
      ["watched", 0],
      ["open", LEASE_MS],
    ] as const)("is free again once its payment is %s and idle", async (stand, ms) => {
      const asked = request({ identifierHash: randomId() });
      await bring(world.ledger, asked, stand);
      world.pass(ms);
      const other = { ...asked, id: randomId() };
      await bring(world.ledger, other, "delivered");
      // The first payment comes back: it must not be settled under the same identifier as well.
      expect(await world.ledger.claim(asked)).toMatchObject({
        outcome: "identifier_replay",
        record: { id: other.id },
      });
    });

    test("taken from a call that stood still beyond its lease: that call is not settled under it as well", async () => {
      const asked = request({ identifierHash: randomId() });
      const fence = await claimed(world.ledger, asked);
      world.pass(LEASE_MS);
      const other = { ...asked, id: randomId() };
      await bring(world.ledger, other, "delivered");
      expect(await world.ledger.renew([{ id: asked.id, fence }], LEASE_MS)).toEqual([asked.id]);
      expect(await world.ledger.beginSettle(asked.id, fence, LEASE_MS)).toBe("lost");
    });

    test("freed by the chain's verdict that no money moved", async () => {
      const asked = request({ identifierHash: randomId() });
      const fence = await bring(world.ledger, asked, "taken_unknown");
      await world.ledger.decide(asked.id, fence, { verdict: "absent", reason: "expired" }, 0);
      await claimed(world.ledger, { ...asked, id: randomId(), fingerprint: randomId() });
    });
  });

  describe("twin", () => {
    test.each(TWINS)("%s, lease %s: the earlier payment is named", async (stand, lease) => {
      const asked = request();
      await bring(world.ledger, asked, stand);
      if (lease === "dead") world.pass(LEASE_MS);
      const record = await world.ledger.payment(asked.id);
      expect(await world.ledger.claim({ ...asked, id: randomId() })).toEqual({
        outcome: "twin",
        record,
        response: undefined,
      });
      expect((await world.ledger.claim({ ...asked, id: randomId(), payer: "another" })).outcome).toBe(
        "claimed",
      );
      const otherRequest = { ...asked, id: randomId(), fingerprint: randomId() };
      expect((await world.ledger.claim(otherRequest)).outcome).toBe("claimed");
    });

    test.each(NO_TWINS)("%s, lease %s: is none", async (stand, lease) => {
      const asked = request();
      await bring(world.ledger, asked, stand);
      if (lease === "dead") world.pass(LEASE_MS);
      expect((await world.ledger.claim({ ...asked, id: randomId() })).outcome).toBe("claimed");
    });

    test("a settled one, which can be served now, is named before an unknown one", async () => {
      const unknown = request();
      const unknownFence = await claimed(world.ledger, unknown);
      world.pass(1);
      const settled = { ...unknown, id: randomId() };
      const fence = await claimed(world.ledger, settled);
      await world.ledger.beginSettle(unknown.id, unknownFence, LEASE_MS);
      await world.ledger.beginSettle(settled.id, fence, LEASE_MS);
      await world.ledger.unknown(unknown.id, unknownFence, "timeout", undefined);
      await world.ledger.settled(settled.id, fence, "tx", undefined);
      await world.ledger.park(settled.id, fence, undefined);
      expect(await world.ledger.claim({ ...unknown, id: randomId() })).toMatchObject({
        outcome: "twin",
        record: { id: settled.id },
      });
    });

    test.each(["settling", "settled"] as const)(
      "%s with a live lease is a twin once its client left",
      async (stand) => {
        const asked = request();
        const fence = await bring(world.ledger, asked, stand);
        const parallel = { ...asked, id: randomId() };
        expect(await world.ledger.claim(parallel)).toMatchObject({ outcome: "claimed" });
        expect(await world.ledger.orphan(asked.id, fence + 1)).toBe("lost");
        expect(await world.ledger.orphan(asked.id, fence)).toBe("ok");
        expect(await world.ledger.payment(asked.id)).toMatchObject({
          orphaned: true,
          leased: true,
          state: stand,
        });
        expect(await world.ledger.claim({ ...asked, id: randomId() })).toMatchObject({
          outcome: "twin",
          record: { id: asked.id, leased: true },
        });
      },
    );

    test.each(["unknown", "parked", "orphaned"] as const)(
      "one that became %s after the claim is found before money moves",
      async (stand) => {
        const first = request();
        const second = { ...first, id: randomId() };
        const firstFence = await bring(world.ledger, first, stand === "parked" ? "settled" : "settling");
        const secondFence = await claimed(world.ledger, second);
        if (stand === "unknown") await world.ledger.unknown(first.id, firstFence, "timeout", undefined);
        if (stand === "parked") await world.ledger.park(first.id, firstFence, undefined);
        if (stand === "orphaned") await world.ledger.orphan(first.id, firstFence);
        expect(await world.ledger.beginSettle(second.id, secondFence, LEASE_MS)).toBe("twin");
        expect(await world.ledger.payment(second.id)).toMatchObject({ state: "open", leased: true });
      },
    );

    test("two calls at once that both still have their client do not stand in each other's way", async () => {
      const first = request();
      const second = { ...first, id: randomId() };
      await bring(world.ledger, first, "settling");
      const fence = await claimed(world.ledger, second);
      expect(await world.ledger.beginSettle(second.id, fence, LEASE_MS)).toBe("ok");
    });
  });

  describe("a payment that another one stood in for", () => {
    /** A parked payment that was taken to serve the call of `other`; returns the fence. */
    async function standIn(asked: ClaimRequest, other: ClaimRequest): Promise<number> {
      await bring(world.ledger, asked, "parked");
      const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, other.id);
      if (resumed === "lost") throw new Error("Expected to resume.");
      return resumed.fence;
    }

    test.each(["being served", "parked", "delivered", "credited"] as const)(
      "is answered from it while that is %s, and never claimed",
      async (stand) => {
        const asked = request();
        const other = { ...asked, id: randomId() };
        const fence = await standIn(asked, other);
        if (stand === "parked") await world.ledger.park(asked.id, fence, keep("kept"));
        if (stand === "delivered") await world.ledger.deliver(asked.id, fence, keep("kept"));
        if (stand === "credited") await world.ledger.credit(asked.id, fence, "upstream_failed");
        const record = await world.ledger.payment(asked.id);
        for (const admitNew of [true, false]) {
          const outcome = await world.ledger.claim({ ...other, admitNew });
          expect(outcome).toMatchObject({ outcome: "twin", record });
          expect(said(outcome)).toBe(stand === "parked" || stand === "delivered" ? "kept" : undefined);
        }
        expect(await world.ledger.payment(other.id)).toBeUndefined();
        // Others are none of its business, nor is another request that the same payment brings.
        if (stand !== "parked")
          expect((await world.ledger.claim({ ...asked, id: randomId() })).outcome).toBe("claimed");
        expect((await world.ledger.claim({ ...other, fingerprint: randomId() })).outcome).toBe("claimed");
      },
    );

    test("is not settled by whoever held it before, however it was claimed", async () => {
      const asked = request();
      const other = { ...asked, id: randomId() };
      const fence = await claimed(world.ledger, other);
      world.pass(LEASE_MS);
      await standIn(asked, other);
      expect(await world.ledger.beginSettle(other.id, fence, LEASE_MS)).toBe("twin");
      expect(await world.ledger.claim(other)).toMatchObject({ outcome: "twin", record: { id: asked.id } });
    });

    test("is not remembered by a takeover that fails", async () => {
      const asked = request();
      const other = { ...asked, id: randomId() };
      await bring(world.ledger, asked, "settled");
      expect(await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, other.id)).toBe("lost");
      expect((await world.ledger.claim(other)).outcome).toBe("claimed");
    });

    test("of many, each is remembered", async () => {
      const asked = request();
      const others = [1, 2, 3].map(() => ({ ...asked, id: randomId() }));
      await bring(world.ledger, asked, "parked");
      for (const other of [...others, ...others]) {
        const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, other.id);
        if (resumed === "lost") throw new Error("Expected to resume.");
        await world.ledger.park(asked.id, resumed.fence, undefined);
      }
      for (const other of others)
        expect(await world.ledger.claim(other)).toMatchObject({ outcome: "twin", record: { id: asked.id } });
    });
  });

  describe("order of a new claim", () => {
    /** Each case also meets all conditions after its own. */
    const ORDER: readonly ClaimOutcome["outcome"][] = [
      "identifier_conflict",
      "twin",
      "not_admitted",
      "too_many_in_flight",
      "claimed",
    ];

    test.each(ORDER.map((outcome, index) => ({ outcome, index })))("$outcome", async ({ outcome, index }) => {
      const identifierHash = randomId();
      const asked = request({ identifierHash, admitNew: index > 2, maxInFlight: index > 3 ? 2 : 1 });
      if (index <= 0) await bring(world.ledger, request({ payer: asked.payer, identifierHash }), "delivered");
      if (index <= 1) {
        const twin = { ...asked, id: randomId(), identifierHash: undefined, admitNew: true };
        await bring(world.ledger, twin, "unknown");
      }
      await claimed(world.ledger, request({ payer: asked.payer }));
      expect((await world.ledger.claim(asked)).outcome).toBe(outcome);
    });
  });

  describe("cap of unsettled calls", () => {
    test("counts open and settling ones with a live lease, of this payer only", async () => {
      const { payer } = request();
      const next = () => request({ payer, maxInFlight: 3 });
      for (const stand of ["delivered", "credited", "released", "watched", "settled"] as const) {
        await bring(world.ledger, next(), stand);
      }
      await bring(world.ledger, next(), "settling");
      const open = next();
      const fence = await bring(world.ledger, open, "open");
      await bring(world.ledger, next(), "open");
      expect((await world.ledger.claim(next())).outcome).toBe("too_many_in_flight");
      await claimed(world.ledger, request({ maxInFlight: 1 }));
      await world.ledger.release(open.id, fence, { reason: "x", watched: false, strikeMs: 0 });
      await claimed(world.ledger, next());
      expect((await world.ledger.claim(next())).outcome).toBe("too_many_in_flight");
      world.pass(LEASE_MS);
      await claimed(world.ledger, next());
    });

    test("one whose settlement is unknown counts until it is decided, however long that takes", async () => {
      const { payer } = request();
      const first = request({ payer });
      const next = () => request({ payer, maxInFlight: 1 });
      await bring(world.ledger, first, "unknown");
      expect((await world.ledger.claim(next())).outcome).toBe("too_many_in_flight");
      world.pass(LEASE_MS * 10);
      const fence = await taken(world.ledger, first.id);
      expect((await world.ledger.claim(next())).outcome).toBe("too_many_in_flight");
      await world.ledger.decide(first.id, fence, { verdict: "settled", transaction: "tx" }, 0);
      expect((await world.ledger.claim(next())).outcome).toBe("claimed");
    });

    test("holds under concurrent claims", async () => {
      const { payer } = request();
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, () => world.ledger.claim(request({ payer, maxInFlight: 8 }))),
      );
      expect(outcomes.filter(({ outcome }) => outcome === "claimed")).toHaveLength(8);
    });
  });

  describe("strike", () => {
    test("upfront terms for strikeMs; a shorter strike never cuts a longer one", async () => {
      const { payer } = request();
      const strike = async (strikeMs: number) => {
        const asked = request({ payer });
        const fence = await claimed(world.ledger, asked);
        await world.ledger.release(asked.id, fence, { reason: "abandoned", watched: false, strikeMs });
      };
      const isUpfront = async (of: string) => {
        const outcome = await world.ledger.claim(request({ payer: of, maxInFlight: 100 }));
        return outcome.outcome === "claimed" && outcome.upfront;
      };
      await strike(0);
      expect(await isUpfront(payer)).toBe(false);
      await strike(1_000);
      await strike(10);
      world.pass(999);
      expect(await isUpfront(payer)).toBe(true);
      expect(await isUpfront(request().payer)).toBe(false);
      world.pass(1);
      expect(await isUpfront(payer)).toBe(false);
      await strike(10);
      await strike(1_000);
      world.pass(999);
      expect(await isUpfront(payer)).toBe(true);
    });

    test.each([
      ["taken_unknown", "absent", true],
      ["taken_unknown", "undecided", false],
      // It was refused, and struck for that if the upstream had run.
      ["taken_watched", "absent", false],
    ] as const)("of a payment that is %s and then %s: %s", async (stand, verdict, struck) => {
      const asked = request();
      const fence = await bring(world.ledger, asked, stand);
      await world.ledger.decide(asked.id, fence, { verdict, reason: "x" }, 1_000);
      const next = request({ payer: asked.payer });
      expect(await world.ledger.claim(next)).toMatchObject({ outcome: "claimed", upfront: struck });
      world.pass(1_000);
      const later = request({ payer: asked.payer });
      expect(await world.ledger.claim(later)).toMatchObject({ outcome: "claimed", upfront: false });
    });

    test("a verdict that is lost strikes nobody", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "taken_unknown");
      const absent = { verdict: "absent", reason: "x" } as const;
      expect(await world.ledger.decide(asked.id, fence + 1, absent, 1_000)).toBe("lost");
      const next = request({ payer: asked.payer });
      expect(await world.ledger.claim(next)).toMatchObject({ outcome: "claimed", upfront: false });
    });

    test("a lost release strikes nobody", async () => {
      const asked = request();
      const fence = await claimed(world.ledger, asked);
      const release = { reason: "abandoned", watched: false, strikeMs: 1_000 };
      expect(await world.ledger.release(asked.id, fence + 1, release)).toBe("lost");
      const next = request({ payer: asked.payer });
      expect(await world.ledger.claim(next)).toMatchObject({ outcome: "claimed", upfront: false });
    });
  });
}
