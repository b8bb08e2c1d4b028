import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { MAX_SESSIONS, type NewSession } from "../../server/ledger/session-ledger.ts";
import { account, customer, held, newId, spend, usageOf } from "./customers.ts";
import { bring, randomId, request, type World } from "./world.ts";

const TTL_MS = 60_000;
const GRACE_MS = 10_000;

/** What gateways must agree on about sign-ins, and what the account API reads. */
export function sessionContract(world: World): void {
  const wallet = () => `wallet-${randomBytes(8).toString("hex")}`;
  const opens = async (of: string): Promise<NewSession> => {
    const session = { wallet: of, id: randomId(), token: randomId(), ttlMs: TTL_MS };
    await world.ledger.openSession(session);
    return session;
  };
  const refreshes = ({ wallet: of, id }: NewSession, token: string, next: string) =>
    world.ledger.refreshSession({ wallet: of, id, token, next, graceMs: GRACE_MS });

  describe("a nonce", () => {
    test("is first once, also of 10 at once", async () => {
      const [of, nonce] = [wallet(), randomId()];
      const uses = await Promise.all(
        Array.from({ length: 10 }, () => world.ledger.useOnce(of, nonce, TTL_MS)),
      );
      expect(uses.toSorted()).toEqual([...Array(9).fill("again"), "first"]);
      world.pass(TTL_MS - 1);
      expect(await world.ledger.useOnce(of, nonce, TTL_MS)).toBe("again");
      expect(await world.ledger.useOnce(wallet(), nonce, TTL_MS)).toBe("first");
      expect(await world.ledger.useOnce(of, randomId(), TTL_MS)).toBe("first");
    });

    test("may be used again when its time is over, and then once", async () => {
      const [of, nonce] = [wallet(), randomId()];
      await world.ledger.useOnce(of, nonce, TTL_MS);
      world.pass(TTL_MS);
      expect(await world.ledger.useOnce(of, nonce, TTL_MS)).toBe("first");
      expect(await world.ledger.useOnce(of, nonce, TTL_MS)).toBe("again");
    });
  });

  describe("a session", () => {
    test("goes on until it is ended, and then does not come back", async () => {
      const [session, other] = [await opens(wallet()), await opens(wallet())];
      const { wallet: of, id, token } = session;
      expect(await world.ledger.hasSession(of, id)).toBe(true);
      expect(await world.ledger.hasSession(other.wallet, id)).toBe(false);
      await world.ledger.endSession(other.wallet, id);
      expect(await world.ledger.hasSession(of, id)).toBe(true);
      await world.ledger.endSession(of, id);
      await world.ledger.endSession(of, id);
      expect(await world.ledger.hasSession(of, id)).toBe(false);
      expect(await refreshes(session, token, randomId())).toBe("ended");
      expect(await world.ledger.hasSession(other.wallet, other.id)).toBe(true);
    });

    test("is over after its time, however often it was refreshed", async () => {
      const session = await opens(wallet());
      world.pass(TTL_MS - 1);
      const next = randomId();
      expect(await refreshes(session, session.token, next)).toBe("refreshed");
      expect(await world.ledger.hasSession(session.wallet, session.id)).toBe(true);
      world.pass(1);
      expect(await world.ledger.hasSession(session.wallet, session.id)).toBe(false);
      expect(await refreshes(session, next, randomId())).toBe("ended");
    });

    test("of 10 refreshes at once with one token one counts, and the session goes on", async () => {
      const session = await opens(wallet());
      const tokens = Array.from({ length: 10 }, randomId);
      const answers = await Promise.all(tokens.map((next) => refreshes(session, session.token, next)));
      expect(answers.toSorted()).toEqual([...Array(9).fill("just_refreshed"), "refreshed"]);
      const current = tokens[answers.indexOf("refreshed")] ?? "";
      expect(await refreshes(session, current, randomId())).toBe("refreshed");
    });

    test("ends when a token comes again after its grace: somebody has a copy", async () => {
      const session = await opens(wallet());
      const next = randomId();
      // The grace begins with the refresh.
      world.pass(GRACE_MS);
      await refreshes(session, session.token, next);
      world.pass(GRACE_MS - 1);
      expect(await refreshes(session, session.token, randomId())).toBe("just_refreshed");
      world.pass(1);
      expect(await refreshes(session, session.token, randomId())).toBe("reused");
      expect(await world.ledger.hasSession(session.wallet, session.id)).toBe(false);
      expect(await refreshes(session, next, randomId())).toBe("ended");
    });

    test("ends when a token before the last one comes, without a grace", async () => {
      const session = await opens(wallet());
      const [second, third] = [randomId(), randomId()];
      await refreshes(session, session.token, second);
      await refreshes(session, second, third);
      expect(await refreshes(session, session.token, randomId())).toBe("reused");
      expect(await refreshes(session, third, randomId())).toBe("ended");
    });

    test("opening it twice changes nothing", async () => {
      const session = await opens(wallet());
      const next = randomId();
      await refreshes(session, session.token, next);
      await world.ledger.openSession(session);
      expect(await refreshes(session, next, randomId())).toBe("refreshed");
    });
  });

  describe("sessions of a wallet", () => {
    test("all end at once, those of others do not", async () => {
      const of = wallet();
      const theirs = [await opens(of), await opens(of), await opens(of)];
      const other = await opens(wallet());
      await world.ledger.endSessions(of);
      await world.ledger.endSessions(of);
      const live = await Promise.all(theirs.map(({ id }) => world.ledger.hasSession(of, id)));
      expect(live).toEqual([false, false, false]);
      expect(await world.ledger.hasSession(other.wallet, other.id)).toBe(true);
      const later = await opens(of);
      expect(await world.ledger.hasSession(of, later.id)).toBe(true);
    });

    test("are bounded: the oldest makes room", async () => {
      const of = wallet();
      const first = await opens(of);
      world.pass(1);
      const second = await opens(of);
      world.pass(1);
      for (let count = 2; count < MAX_SESSIONS; count += 1) await opens(of);
      expect(await world.ledger.hasSession(of, first.id)).toBe(true);
      world.pass(1);
      await opens(of);
      expect(await world.ledger.hasSession(of, first.id)).toBe(false);
      expect(await world.ledger.hasSession(of, second.id)).toBe(true);
    });
  });

  describe("what an account reads", () => {
    test("its journal comes page by page, newest first, without a gap or a repeat", async () => {
      const id = await account(world.ledger, 0n);
      for (const amount of [1n, 2n, 3n, 4n, 5n]) {
        await world.ledger.creditAccount(id, amount, `r${amount}`);
      }
      await account(world.ledger, 9n);
      const first = await world.ledger.journalPage(id, undefined, 2);
      const second = await world.ledger.journalPage(id, first.next, 2);
      const third = await world.ledger.journalPage(id, second.next, 2);
      const pages = [first, second, third].map(({ entries }) => entries.map(({ amount }) => amount));
      expect(pages).toEqual([[5n, 4n], [3n, 2n], [1n]]);
      expect(third.next).toBeUndefined();
      expect([...first.entries, ...second.entries, ...third.entries].toReversed()).toEqual(
        await world.ledger.journal(id),
      );
      for (const before of ["x", "-1", "1; DROP", "1e3"]) {
        expect(await world.ledger.journalPage(id, before, 2)).toEqual({ entries: [], next: undefined });
      }
      expect(await world.ledger.journalPage(newId("acct"), undefined, 2)).toEqual({
        entries: [],
        next: undefined,
      });
    });

    test("what payments wrote into it comes alone, page by page, also from behind many debits", async () => {
      const payer = `payer-${randomId()}`;
      const id = `wallet:${payer}`;
      const payments = [request({ payer }), request({ payer }), request({ payer })];
      const [one, two, three] = payments.map((asked) => `payment:${asked.id}`);
      for (const asked of payments) await bring(world.ledger, asked, "credited");
      const operators = Array.from({ length: 30 }, (_, nth) => `r${nth}`);
      for (const reference of operators) await world.ledger.creditAccount(id, 1n, reference);
      await bring(world.ledger, request(), "credited");
      const first = await world.ledger.paidInPage(id, undefined, 2);
      const second = await world.ledger.paidInPage(id, first.next, 2);
      const pages = [first, second].map(({ entries }) => entries.map(({ reference }) => reference));
      expect(pages).toEqual([[three, two], [one]]);
      expect(second.next).toBeUndefined();
      expect(first.entries[0]).toEqual(
        (await world.ledger.journal(id)).find(({ reference }) => reference === three),
      );
      expect((await world.ledger.paidInPage(id, "x", 2)).entries).toEqual([]);
      expect(await world.ledger.paidInPage(newId("acct"), undefined, 2)).toEqual({
        entries: [],
        next: undefined,
      });
    });

    test("a payment is found behind more entries than a store looks through at a time", async () => {
      const asked = request();
      await bring(world.ledger, asked, "credited");
      const id = `wallet:${asked.payer}`;
      for (let done = 0; done < 5_100; done += 300) {
        const some = Array.from({ length: 300 }, (_, nth) =>
          world.ledger.creditAccount(id, 1n, `r${done + nth}`),
        );
        await Promise.all(some);
      }
      const found: string[] = [];
      let next: string | undefined;
      let asks = 0;
      do {
        const page = await world.ledger.paidInPage(id, next, 10);
        found.push(...page.entries.map(({ reference }) => reference));
        next = page.next;
        asks += 1;
      } while (next !== undefined);
      expect(found).toEqual([`payment:${asked.id}`]);
      expect(asks).toBeLessThan(4);
    });

    test("usage of one model, and no other", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const facts = usageOf(await held(world.ledger, buyer, 0n));
      const write = (model: string | undefined, charged: bigint) =>
        world.ledger.recordUsage({ ...facts, model }, charged);
      for (let round = 0; round < 3; round += 1) {
        await write("a", 1n);
        await write("b", 2n);
        await write(undefined, 3n);
      }
      await spend(world.ledger, buyer, 5n);
      const of = { account: buyer.account, model: "b" };
      const two = await world.ledger.usage({ ...of, limit: 2 });
      expect(two.map(({ model, charged }) => [model, charged])).toEqual([
        ["b", 2n],
        ["b", 2n],
      ]);
      const rest = await world.ledger.usage({ ...of, before: two.at(-1)?.id, limit: 2 });
      expect(rest.map(({ model }) => model)).toEqual(["b"]);
      expect(await world.ledger.usage({ ...of, model: "none", limit: 2 })).toEqual([]);
    });

    test("a payment by its payer, and of no other payer", async () => {
      const asked = request();
      await bring(world.ledger, asked, "settled");
      expect(await world.ledger.payment(asked.id, asked.payer)).toMatchObject({ state: "settled" });
      expect(await world.ledger.payment(asked.id, "somebody else")).toBeUndefined();
    });
  });
}
