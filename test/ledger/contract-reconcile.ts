import { describe, expect, test } from "vitest";
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
  said,
  taken,
  type World,
} from "./world.ts";

export function reconcileContract(world: World): void {
  const listed = async () => (await world.ledger.listUndecided(ALL)).map(({ id }) => id);

  describe("takeUndecided", () => {
    const live: readonly Stand[] = ["unknown", "watched"];
    const dead: readonly Stand[] = [...live, "settling", "taken_unknown", "taken_watched"];

    test.each(STANDS)("%s", async (stand) => {
      const { ledger } = world;
      for (const [pass, takeable] of [
        [0, live],
        [LEASE_MS, dead],
      ] as const) {
        const asked = request();
        const fence = await bring(ledger, asked, stand);
        world.pass(pass);
        const before = await ledger.payment(asked.id);
        expect((await listed()).includes(asked.id)).toBe(takeable.includes(stand));
        const outcome = await ledger.takeUndecided(asked.id, HEIGHT + 50n, LEASE_MS);
        if (!takeable.includes(stand)) {
          expect(outcome).toBe("lost");
          expect(await ledger.payment(asked.id)).toEqual(before);
          continue;
        }
        const record = await ledger.payment(asked.id);
        expect(outcome).toEqual({ fence: fence + 1, record });
        const state = before?.watched ? "released" : "unknown";
        expect(record).toMatchObject({ state, leased: true, claimHeight: HEIGHT, watched: before?.watched });
        expect(record?.reason).toBe(stand === "settling" ? "lease_expired" : before?.reason);
        expect(await listed()).not.toContain(asked.id);
      }
    });

    test("one that was refused once, claimed anew and left while it settled, is looked for as that alone", async () => {
      const { ledger } = world;
      const asked = request();
      await bring(ledger, asked, "watched");
      const fence = await claimed(ledger, asked);
      await ledger.beginSettle(asked.id, fence, LEASE_MS);
      world.pass(LEASE_MS);
      const looked = await taken(ledger, asked.id);
      expect(await ledger.payment(asked.id)).toMatchObject({ state: "unknown", watched: false });
      await ledger.decide(asked.id, looked, { verdict: "settled", transaction: "tx" }, 0);
      // Nobody takes it from who serves it now.
      expect(await listed()).not.toContain(asked.id);
      expect(await ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)).toBe("lost");
    });

    test("one of many at a time", async () => {
      const asked = request();
      await bring(world.ledger, asked, "unknown");
      const all = await Promise.all(
        Array.from({ length: 20 }, () => world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)),
      );
      expect(all.filter((outcome) => outcome !== "lost")).toHaveLength(1);
    });

    test("stamps the height only where there is none", async () => {
      const asked = request({ claimHeight: undefined });
      await bring(world.ledger, asked, "unknown");
      const first = await world.ledger.takeUndecided(asked.id, 77n, LEASE_MS);
      expect(first).toMatchObject({ record: { claimHeight: 77n } });
      world.pass(LEASE_MS);
      const second = await world.ledger.takeUndecided(asked.id, 99n, LEASE_MS);
      expect(second).toMatchObject({ record: { claimHeight: 77n } });
    });
  });

  describe("decide", () => {
    test("settled: the payment can be served at once, once", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "taken_unknown");
      await world.ledger.decide(asked.id, fence, { verdict: "settled", transaction: "tx" }, 0);
      expect(await world.ledger.payment(asked.id)).toMatchObject({
        state: "settled",
        transaction: "tx",
        reason: undefined,
        leased: false,
      });
      expect(await world.ledger.decide(asked.id, fence, { verdict: "absent", reason: "x" }, 0)).toBe("lost");
      expect((await world.ledger.claim(asked)).outcome).toBe("resumed");
    });

    test("absent: released, with the reason, and not watched", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "taken_unknown");
      await world.ledger.decide(asked.id, fence, { verdict: "absent", reason: "expired" }, 0);
      const record = { state: "released", reason: "expired", watched: false, leased: false };
      expect(await world.ledger.payment(asked.id)).toMatchObject(record);
      expect(await listed()).not.toContain(asked.id);
    });

    test("undecided: comes up again, after those that wait longer", async () => {
      const first = request();
      const second = request();
      await bring(world.ledger, first, "unknown");
      world.pass(1);
      await bring(world.ledger, second, "unknown");
      const mine = async () => (await listed()).filter((id) => id === first.id || id === second.id);
      expect(await mine()).toEqual([first.id, second.id]);
      world.pass(1);
      const fence = await taken(world.ledger, first.id);
      await world.ledger.decide(first.id, fence, { verdict: "undecided", reason: "too early" }, 0);
      expect(await world.ledger.payment(first.id)).toMatchObject({ state: "unknown", reason: "timeout" });
      expect(await mine()).toEqual([second.id, first.id]);
      expect(await world.ledger.listUndecided(1)).toHaveLength(1);
    });

    test("watched ones come after all that are undecided, however long they wait", async () => {
      const watched = request();
      const unknown = request();
      await bring(world.ledger, watched, "watched");
      world.pass(1);
      await bring(world.ledger, unknown, "unknown");
      const mine = (await listed()).filter((id) => id === watched.id || id === unknown.id);
      expect(mine).toEqual([unknown.id, watched.id]);
    });

    test("a refused payment that lands after all is owed, once", async () => {
      const asked = request();
      const account = `wallet:${asked.payer}`;
      const fence = await bring(world.ledger, asked, "taken_watched");
      const landed = { verdict: "settled", transaction: "late" } as const;
      const steps = await Promise.all(
        Array.from({ length: 10 }, () => world.ledger.decide(asked.id, fence, landed, 0)),
      );
      expect(steps.filter((step) => step === "ok")).toHaveLength(1);
      expect(await world.ledger.payment(asked.id)).toMatchObject({
        state: "credited",
        transaction: "late",
        watched: false,
        leased: false,
      });
      expect(await world.ledger.journal(account)).toEqual([
        {
          account,
          reference: `payment:${asked.id}`,
          kind: "owed_credit",
          amount: asked.amount,
          balance: asked.amount,
          at: world.now(),
        },
      ]);
      expect((await world.ledger.claim(asked)).outcome).toBe("credited");
    });

    test("a refused payment that never lands is watched no longer", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "taken_watched");
      await world.ledger.decide(asked.id, fence, { verdict: "absent", reason: "expired" }, 0);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "released", watched: false });
      expect(await world.ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS)).toBe("lost");
    });
  });

  describe("takeAbandoned", () => {
    const IDLE_MS = 60_000;

    test.each(STANDS)("%s", async (stand) => {
      const asked = request();
      const fence = await bring(world.ledger, asked, stand);
      const find = async () => {
        const all = await world.ledger.takeAbandoned(IDLE_MS, LEASE_MS, ALL);
        return all.find(({ id }) => id === asked.id);
      };
      // A dropped lease is dead from its drop on, a held one from its end on.
      world.pass((stand === "parked" ? 0 : LEASE_MS) + IDLE_MS - 1);
      expect(await find()).toBeUndefined();
      world.pass(1);
      if (stand !== "settled" && stand !== "parked") {
        expect(await find()).toBeUndefined();
        return;
      }
      const record = await find();
      expect(record).toEqual(await world.ledger.payment(asked.id));
      expect(record).toMatchObject({ state: "settled", fence: fence + 1, leased: true });
      expect(await find()).toBeUndefined();
      expect(await world.ledger.credit(asked.id, fence, "late")).toBe("lost");
      expect(await world.ledger.credit(asked.id, fence + 1, "abandoned")).toBe("ok");
    });

    test("at most `limit`, longest idle first; each is taken by one", async () => {
      world.pass(IDLE_MS * 2);
      await world.ledger.takeAbandoned(0, IDLE_MS * 100, ALL);
      const [first, second, third] = [request(), request(), request()];
      for (const asked of [first, second, third]) {
        await bring(world.ledger, asked, "parked");
        world.pass(1);
      }
      world.pass(IDLE_MS);
      const [one, two] = await Promise.all([
        world.ledger.takeAbandoned(IDLE_MS, LEASE_MS, 2),
        world.ledger.takeAbandoned(IDLE_MS, LEASE_MS, 2),
      ]);
      const ids = [one, two].sort((a, b) => b.length - a.length).map((all) => all.map(({ id }) => id).sort());
      expect(ids).toEqual([[first.id, second.id].sort(), [third.id]]);
    });

    test("a parked response is not served once the payment is credited", async () => {
      const asked = request({ identifierHash: "owed-identifier" });
      const fence = await bring(world.ledger, asked, "settled");
      await world.ledger.park(asked.id, fence, keep("secret"));
      const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
      if (resumed === "lost") throw new Error("Expected to resume.");
      await world.ledger.credit(asked.id, resumed.fence, "abandoned");
      const replay = await world.ledger.claim({ ...asked, id: `${asked.id}-2` });
      expect(replay.outcome).toBe("identifier_replay");
      expect(said(replay)).toBeUndefined();
    });
  });
}
