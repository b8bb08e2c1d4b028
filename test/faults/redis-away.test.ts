import { isDeepStrictEqual } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Customer, chat } from "../keyed/keyed-shop.ts";
import { type Auditor, createAuditor, openForBusiness, type Sale } from "./audit.ts";
import { openRedisShop, type RedisShop } from "./redis-shop.ts";

let place: RedisShop;
let auditor: Auditor;

beforeAll(async () => {
  place = await openRedisShop();
  await openForBusiness(place.shop.url);
  auditor = createAuditor(place.shop);
});
afterEach(async () => {
  await auditor.audit();
  expect(await place.shop.gateway.ledger.checkAccounts()).toEqual([]);
});
afterAll(async () => {
  await auditor.close();
  await place.close();
});

const WAIT = { interval: 20, timeout: 20_000 };
const unavailable = { status: 503, code: "ledger_unavailable", retryAfter: 2 };

/** Sends it without a look at the ledger, which may be away. */
async function sent(url: string, init: RequestInit) {
  const response = await fetch(url, init);
  const text = await response.text();
  const retryAfter = Number(response.headers.get("retry-after"));
  return { status: response.status, code: codeOf(text), retryAfter, text };
}

function codeOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { error?: { code?: string } }).error?.code;
  } catch {
    return undefined;
  }
}

const pay = (sale: Sale) =>
  sent(sale.url, {
    ...sale.init,
    headers: { ...(sale.init.headers as Record<string, string>), ...sale.payment },
  });
const ask = (buyer: Customer, text: string, more: Readonly<Record<string, unknown>> = {}) =>
  sent(`${place.shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: buyer.headers,
    body: chat(text, more),
  });
const upstreamCalls = () => place.shop.upstream.calls.length;
const settles = () => place.shop.facilitator.calls.settle;

/** Two ways to be away: the connection breaks, or it stays open and nothing comes back. */
const absences = [
  { away: "killed", leave: () => place.redis.kill(), comeBack: () => place.redis.start() },
  {
    away: "standing still",
    leave: async () => place.redis.pause(),
    comeBack: async () => place.redis.resume(),
  },
];

describe.each(absences)("Redis is $away", ({ leave, comeBack }) => {
  async function back(): Promise<void> {
    await comeBack();
    await place.untilItWorks();
  }

  describe("a wallet's call", () => {
    test("before the claim: 503, nothing is asked of anybody, and the same payment works afterwards", async () => {
      const sale = await auditor.sell();
      const before = [upstreamCalls(), settles()];
      await leave();
      expect(await pay(sale)).toMatchObject(unavailable);
      expect([upstreamCalls(), settles()]).toEqual(before);
      await back();
      // The claim may have run: then its lease runs out first.
      if ((await auditor.state(sale)) === "open") await place.endLease(sale.id);
      expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    });

    test("after the claim: nothing is settled, and the same payment works afterwards", async () => {
      const sale = await auditor.sell();
      const before = settles();
      const call = place.shop.upstream.hold();
      const answer = pay(sale);
      await call.arrived;
      await leave();
      call.release();
      expect(await answer).toMatchObject(unavailable);
      expect(settles()).toBe(before);
      await back();
      await place.endLease(sale.id);
      const retry = await sale.send();
      // `beginSettle` may have run although nobody heard of it: the chain is asked before the payment is used again.
      if (retry.status === 200) expect(retry.settles).toBe(1);
      else expect(retry).toMatchObject({ status: 503, code: "settlement_unknown", settles: 0 });
    });

    test("while it is being settled: not served, and served on the same settlement afterwards", async () => {
      const sale = await auditor.sell();
      const settle = place.shop.facilitator.hold("settle");
      const answer = pay(sale);
      await settle.arrived;
      await leave();
      settle.release();
      const { status, code, text } = await answer;
      expect({ status, code }).toEqual({ status: 503, code: "settlement_unknown" });
      expect(text).not.toContain("Hello");
      expect(auditor.moved(sale)).toBe(1);
      await back();
      await place.endLease(sale.id);
      expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
      expect(auditor.moved(sale)).toBe(1);
    });

    test("while it is being served: the answer stands, and is recorded once Redis is back", async () => {
      const sale = await auditor.sell({ body: { stream: true } });
      const stream = place.shop.upstream.stream();
      const answer = pay(sale);
      await stream.delta("One ");
      await vi.waitUntil(async () => (await auditor.state(sale)) === "settled", {
        interval: 5,
        timeout: 5_000,
      });
      await leave();
      await stream.finish();
      expect(await answer).toMatchObject({ status: 200 });
      await back();
      await vi.waitUntil(async () => (await auditor.state(sale)) === "delivered", {
        interval: 20,
        timeout: 20_000,
      });
    });
  });

  describe("a keyed call", () => {
    test("before the hold: 503, and the upstream is not asked", async () => {
      const buyer = await place.shop.customer(1_000_000n);
      expect(await ask(buyer, "first")).toMatchObject({ status: 200 });
      const paid = await place.shop.books(buyer.account);
      const before = upstreamCalls();
      await leave();
      expect(await ask(buyer, "second")).toMatchObject(unavailable);
      expect(upstreamCalls()).toBe(before);
      await back();
      expect((await place.shop.books(buyer.account)).balance).toBe(paid.balance);
      expect(await ask(buyer, "third")).toMatchObject({ status: 200 });
    });

    test("before the capture: not served, and in the end not charged", async () => {
      const buyer = await place.shop.customer(1_000_000n);
      const call = place.shop.upstream.hold();
      const answer = ask(buyer, "hello");
      await call.arrived;
      await leave();
      call.release();
      expect(await answer).toMatchObject(unavailable);
      await back();
      const restored = { balance: 1_000_000n, held: 0n, journal: 1_000_000n };
      await vi.waitUntil(
        async () => isDeepStrictEqual(await place.shop.books(buyer.account), restored),
        WAIT,
      );
    });

    test("in the middle of a stream: it goes on to its end, and is charged once Redis is back", async () => {
      const buyer = await place.shop.customer(1_000_000n);
      const stream = place.shop.upstream.stream();
      const response = fetch(`${place.shop.url}/v1/chat/completions`, {
        method: "POST",
        headers: buyer.headers,
        body: chat("hello", { stream: true }),
      });
      await stream.delta("One ");
      // Its head is there, so the gate is open.
      const { body } = await response;
      await leave();
      await stream.finish({ prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 });
      expect(await new Response(body).text()).toContain("[DONE]");
      await back();
      const charged = { balance: 999_980n, held: 0n, journal: 999_980n };
      await vi.waitUntil(async () => (await place.shop.books(buyer.account)).held === 0n, WAIT);
      expect(await place.shop.books(buyer.account)).toEqual(charged);
    });
  });
});

describe("Redis cannot write", () => {
  const states = {
    "it became a replica": [
      () => place.admin.replicaof("127.0.0.1", 1),
      () => place.admin.replicaof("NO", "ONE"),
    ],
    "its replicas are gone": [
      () => place.admin.config("SET", "min-replicas-to-write", "1"),
      () => place.admin.config("SET", "min-replicas-to-write", "0"),
    ],
    "its memory is full": [
      () => place.admin.config("SET", "maxmemory", "1"),
      () => place.admin.config("SET", "maxmemory", "0"),
    ],
  } as const;

  test.each(Object.entries(states))(
    "%s: 503 to everybody, and it works again by itself",
    async (_name, [stop, mend]) => {
      const buyer = await place.shop.customer(1_000_000n);
      const sale = await auditor.sell();
      const before = [upstreamCalls(), settles()];
      await stop();
      expect(await ask(buyer, "hello")).toMatchObject(unavailable);
      expect(await pay(sale)).toMatchObject(unavailable);
      expect([upstreamCalls(), settles()]).toEqual(before);
      expect((await fetch(`${place.shop.url}/readyz`)).status).toBe(503);
      await mend();
      await place.untilItWorks();
      expect(await place.shop.books(buyer.account)).toEqual({
        balance: 1_000_000n,
        held: 0n,
        journal: 1_000_000n,
      });
      expect(await ask(buyer, "hello")).toMatchObject({ status: 200 });
      expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    },
  );
});
