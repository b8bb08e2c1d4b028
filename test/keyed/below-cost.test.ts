import { request } from "node:http";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** Ways to be served for less than it costs, or for more. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({ yaml: "keys: { holdLease: 1s }\n" });
});
afterAll(() => shop.close());

const USAGE = { prompt_tokens: 10, completion_tokens: 900, total_tokens: 910 };

function post(customer: Customer, body: string, more: Readonly<Record<string, string>> = {}) {
  const headers = { ...customer.headers, ...more };
  return fetch(`${shop.url}/v1/chat/completions`, { method: "POST", headers, body });
}

/** Up to here an answer is read before it is passed on. */
const READ_BYTES = 1_048_576;

/** A completion of just more than that, cut in two before this text: only the second piece is too much. */
function largeAnswer(cut: string): readonly [string, string] {
  const choices = [{ index: 0, message: { role: "assistant", content: "word ".repeat(900) } }];
  const whole = (size: number) =>
    JSON.stringify({
      object: "chat.completion",
      model: "m",
      choices,
      logprobs: "x".repeat(size),
      usage: USAGE,
    });
  const before = whole(0).indexOf(cut);
  return cutAt(whole(READ_BYTES - before), READ_BYTES);
}

function cutAt(whole: string, at: number): readonly [string, string] {
  return [whole.slice(0, at), whole.slice(at)];
}

async function settled(customer: Customer): Promise<bigint> {
  await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
  return 1_000_000n - (await shop.books(customer.account)).balance;
}

describe("an answer that is too large to be read", () => {
  test("costs the most to who leaves before its end, whatever they have read", async () => {
    const customer = await shop.customer(1_000_000n);
    const [begin] = largeAnswer('"usage"');
    shop.upstream.next((_, res) => {
      res.writeHead(200, { "Content-Type": "application/json" });
      res.write(begin);
      res.write(" ".repeat(100));
      res.write(" ".repeat(100));
    });
    const { hostname, port } = new URL(shop.url);
    const headers = customer.headers;
    const path = "/v1/chat/completions";
    const req = request({ hostname, port, path, method: "POST", headers });
    req.on("error", () => {});
    await new Promise<void>((resolve) => {
      req.on("response", (res) => {
        let size = 0;
        res.on("error", () => {});
        res.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > 500_000) resolve();
        });
      });
      req.end(chat("Hi"));
    });
    req.destroy();
    const charged = await settled(customer);
    const [usage] = await shop.usageOf(customer.account);
    expect(charged).toBe(usage?.held);
    expect(charged).toBeGreaterThan(1_810n);
  });

  test.each(['"usage"', '"completion_tokens"', "900,"])(
    "costs what it reports, cut before %s",
    async (cut) => {
      const customer = await shop.customer(1_000_000n);
      const [begin, end] = largeAnswer(cut);
      shop.upstream.next(async (_, res) => {
        res.writeHead(200, { "Content-Type": "application/json" });
        await new Promise((resolve) => res.write(begin, resolve));
        // Nothing tells when the other side has read it; what is written too soon only arrives as one piece.
        await setTimeout(100);
        res.end(end);
      });
      const answer = await post(customer, chat("Hi"));
      expect((await answer.text()).length).toBe(begin.length + end.length);
      expect(await settled(customer)).toBe(1_810n);
    },
  );
});

test("a report of no tokens is no report", async () => {
  for (const more of [{}, { stream: true }]) {
    const customer = await shop.customer(1_000_000n);
    shop.upstream.next(
      answers.chat("Hello there!", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }),
    );
    await (await post(customer, chat("Hi", more))).text();
    await settled(customer);
    const [usage] = await shop.usageOf(customer.account);
    expect(usage).toMatchObject({ estimated: true, promptTokens: expect.any(Number) });
    expect(usage?.promptTokens).toBeGreaterThan(0);
    expect(usage?.completionTokens).toBeGreaterThan(0);
  }
});

describe("a hold that lapsed while its call ran", () => {
  /** Holds are not renewed until the call that is passed has ended. */
  async function withoutRenewal(run: () => Promise<void>): Promise<void> {
    const { ledger } = shop.gateway;
    const { renewHolds } = ledger;
    ledger.renewHolds = async () => [];
    try {
      await run();
    } finally {
      ledger.renewHolds = renewHolds;
    }
  }

  async function lapsed(customer: Customer): Promise<void> {
    await expect
      .poll(
        async () => {
          await shop.gateway.ledger.sweepHolds();
          return (await shop.books(customer.account)).held;
        },
        { timeout: 10_000 },
      )
      .toBe(0n);
  }

  test("and whose money is gone: nothing is served for nothing", async () => {
    await withoutRenewal(async () => {
      const customer = await shop.customer(10_000n);
      const held = shop.upstream.hold();
      const first = post(customer, chat("Hi", { model: "flat-test" }));
      await held.arrived;
      await lapsed(customer);
      expect((await post(customer, chat("Hi", { model: "flat-test" }))).status).toBe(200);
      held.release();
      expect((await first).status).toBe(503);
      await expect.poll(() => shop.books(customer.account)).toEqual({ balance: 0n, held: 0n, journal: 0n });
    });
  });

  test("and whose Idempotency-Key another call has: one of them is charged", async () => {
    await withoutRenewal(async () => {
      const customer = await shop.customer(1_000_000n);
      const key = { "idempotency-key": "order" };
      const held = shop.upstream.hold();
      const first = post(customer, chat("Hi", { model: "flat-test" }), key);
      await held.arrived;
      await lapsed(customer);
      const second = await post(customer, chat("Hi", { model: "flat-test" }), key);
      expect(second.status).toBe(200);
      held.release();
      expect((await first).status).toBe(503);
      expect(await settled(customer)).toBe(10_000n);
      const again = await post(customer, chat("Hi", { model: "flat-test" }), key);
      expect(again.headers.get("idempotent-replayed")).toBe("true");
      expect(await settled(customer)).toBe(10_000n);
    });
  });

  test("and whose Idempotency-Key nobody took: it is charged, and a repeat gets its answer", async () => {
    await withoutRenewal(async () => {
      const customer = await shop.customer(1_000_000n);
      const key = { "idempotency-key": "order" };
      const held = shop.upstream.hold();
      const first = post(customer, chat("Hi", { model: "flat-test" }), key);
      await held.arrived;
      await lapsed(customer);
      held.release();
      expect((await first).status).toBe(200);
      const again = await post(customer, chat("Hi", { model: "flat-test" }), key);
      expect(again.headers.get("idempotent-replayed")).toBe("true");
      expect(await settled(customer)).toBe(10_000n);
    });
  });
});
