import { request } from "node:http";
import { encode } from "gpt-tokenizer/encoding/o200k_base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { events, inPieces, SSE, STOP, said } from "../proxy/metered-calls.ts";
import { answers } from "../support/model-upstream.ts";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/**
 * The billing cases that users of other gateways reported, as far as they concern keys; test/money has those of wallets, and 2 and 4.
 * Case 3 is in killed.test.ts, 18 in own-provider-keys.test.ts, and 5, across a turn of the period, in test/ledger/contract-captures.ts.
 */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: "keys: { holdLease: 2s }\nroutes:\n  'GET /free-for-none': { upstream: default, price: '$0.01', tiers: [key] }\n",
  });
});
afterAll(() => shop.close());

function post(customer: Customer, body: string, path = "/v1/chat/completions", more = {}) {
  return fetch(shop.url + path, {
    method: "POST",
    headers: { ...customer.headers, ...more },
    body,
  });
}

/** Waits until nothing of the account is held. */
async function settled(customer: Customer) {
  for (;;) {
    const books = await shop.books(customer.account);
    if (books.held === 0n) return books;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A call whose client leaves at `leave`; `arrived` once it has read something, or what it reads for. */
function leaving(customer: Customer, body: string, until = ""): { leave(): void; arrived: Promise<void> } {
  const { hostname, port } = new URL(shop.url);
  const req = request({
    hostname,
    port,
    path: "/v1/chat/completions",
    method: "POST",
    headers: customer.headers,
  });
  req.on("error", () => {});
  const arrived = new Promise<void>((resolve) => {
    req.on("response", (res) => {
      res.on("error", () => {});
      let read = "";
      res.on("data", (chunk) => {
        read += String(chunk);
        if (read.includes(until)) resolve();
      });
    });
  });
  req.end(body);
  return { leave: () => void req.destroy(), arrived };
}

describe("case 1: as many concurrent calls as the budget bears", () => {
  test.each([
    ["the account's balance", () => shop.customer(100_000n)],
    ["the key's limit", () => shop.customer(5_000_000n, { limit: 100_000n })],
  ] as const)("of 50 calls at one cent on ten cents exactly ten are admitted (%s)", async (_, open) => {
    const customer = await open();
    const before = shop.upstream.calls.length;
    const calls = Array.from({ length: 50 }, () => post(customer, chat("Hi", { model: "flat-test" })));
    const statuses = (await Promise.all(calls)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(10);
    expect(statuses.filter((status) => status === 402)).toHaveLength(40);
    expect(shop.upstream.calls.length - before).toBe(10);
    const spent = (await shop.usageOf(customer.account)).reduce((sum, { charged }) => sum + charged, 0n);
    expect(spent).toBe(100_000n);
  });
});

describe("case 5: a limit that starts again with calls in flight", () => {
  test("neither blocks the new period nor loses what was spent in the old", async () => {
    const customer = await shop.customer(1_000_000n, { limit: 20_000n });
    const held = shop.upstream.hold();
    const running = post(customer, chat("Hi", { model: "flat-test" }));
    await held.arrived;
    await shop.gateway.ledger.changeKey(customer.keyId, { limit: 30_000n, limitReset: "daily" });
    held.release();
    expect((await running).status).toBe(200);
    const key = await shop.gateway.ledger.key(customer.keyId);
    expect(key).toMatchObject({ usage: 10_000n, spent: 10_000n, limitRemaining: 20_000n });
  });
});

describe("case 6: GET /key and the enforcer agree", () => {
  test("what remains is what is admitted", async () => {
    const customer = await shop.customer(1_000_000n, { limit: 25_000n });
    for (const expected of [200, 200, 402]) {
      const status = await fetch(`${shop.url}/v1/key`, { headers: customer.headers });
      const key = (await status.json()) as { limit_remaining_micro_usd: string };
      const { status: answered } = await post(customer, chat("Hi", { model: "flat-test" }));
      expect(answered).toBe(expected);
      expect(BigInt(key.limit_remaining_micro_usd) >= 10_000n).toBe(expected === 200);
    }
  });
});

describe("case 7: a client that hangs up pays what the upstream produced", () => {
  const prompt = "Tell me a long story about a lighthouse.";

  test("before the first token: the prompt", async () => {
    const customer = await shop.customer(1_000_000n);
    const held = shop.upstream.hold();
    const call = leaving(customer, chat(prompt, { stream: true }));
    await held.arrived;
    call.leave();
    await shop.upstream.waitAborted();
    const books = await settled(customer);
    const [usage] = await shop.usageOf(customer.account);
    expect(usage).toMatchObject({ estimated: true, completionTokens: 0 });
    expect(usage?.promptTokens).toBeGreaterThanOrEqual(encode(prompt).length);
    expect(usage?.charged).toBe(BigInt(usage?.promptTokens ?? 0));
    expect(books.balance).toBe(1_000_000n - (usage?.charged ?? 0n));
  });

  test("mid-stream: the prompt and what came", async () => {
    const customer = await shop.customer(1_000_000n);
    const stream = shop.upstream.stream();
    const call = leaving(customer, chat(prompt, { stream: true }));
    await stream.arrived;
    await stream.delta("Once upon a time there was a lighthouse.");
    await call.arrived;
    call.leave();
    const { billed } = await shop.upstream.waitAborted();
    await settled(customer);
    const [usage] = await shop.usageOf(customer.account);
    expect(billed.completionTokens).toBe(encode("Once upon a time there was a lighthouse.").length);
    expect(usage).toMatchObject({ estimated: true, ...billed });
    expect(usage?.charged).toBe(BigInt(usage?.promptTokens ?? 0) + 2n * BigInt(usage?.completionTokens ?? 0));
  });

  test("just before the usage: all of it, as the upstream bills it", async () => {
    const customer = await shop.customer(1_000_000n);
    const stream = shop.upstream.stream();
    const call = leaving(customer, chat(prompt, { stream: true }), "stop");
    await stream.arrived;
    await stream.delta("Once upon a time there was a lighthouse.");
    await stream.data({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    await call.arrived;
    call.leave();
    const { billed } = await shop.upstream.waitAborted();
    const books = await settled(customer);
    const [usage] = await shop.usageOf(customer.account);
    expect(usage).toMatchObject({ estimated: true, ...billed });
    const charged = BigInt(billed.promptTokens) + 2n * BigInt(billed.completionTokens);
    expect(usage?.charged).toBe(charged);
    expect(books.balance).toBe(1_000_000n - charged);
  });
});

describe("case 8: a client that hangs up on an answer that does not stream", () => {
  test("is billed, and the upstream is cancelled", async () => {
    const customer = await shop.customer(1_000_000n);
    const held = shop.upstream.hold();
    const call = leaving(customer, chat("Hi", { model: "flat-test" }));
    await held.arrived;
    call.leave();
    await shop.upstream.waitAborted();
    const books = await settled(customer);
    expect(books.balance).toBe(990_000n);
  });
});

describe("case 9: usage in every form", () => {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };

  test.each([
    ["JSON", answers.chat("Hello there!", usage), {}, 7n],
    ["a stream", answers.chat("Hello there!", usage), { stream: true }, 7n],
    ["gzip", answers.gzip("Hello there!"), {}, 7n],
    ["a gzip stream", answers.gzip("Hello there!"), { stream: true }, 7n],
    [
      "split across chunks",
      inPieces(events(said("Hello"), STOP, { choices: [], usage }), 5),
      { stream: true },
      7n,
    ],
    [
      "running, in every chunk",
      answers.raw(
        200,
        SSE,
        events(said("Hello", { usage: { ...usage, completion_tokens: 1 } }), said("!", { usage }), STOP),
      ),
      { stream: true },
      7n,
    ],
  ] as const)("%s", async (_, behaviour, more, charged) => {
    const customer = await shop.customer(1_000_000n);
    shop.upstream.next(behaviour);
    const answer = await post(customer, chat("Hi", more));
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain("Hello");
    expect((await settled(customer)).balance).toBe(1_000_000n - charged);
  });

  test("none: the documented estimate", async () => {
    const customer = await shop.customer(1_000_000n);
    shop.upstream.next(answers.chat("Hello there!", null));
    await (await post(customer, chat("Hi"))).text();
    await settled(customer);
    const [record] = await shop.usageOf(customer.account);
    expect(record).toMatchObject({ estimated: true, completionTokens: encode("Hello there!").length });
    expect(record?.charged).toBeGreaterThan(0n);
  });

  test("an error inside a 200 costs nothing", async () => {
    const customer = await shop.customer(1_000_000n);
    for (const more of [{}, { stream: true }]) {
      shop.upstream.next(answers.errorIn200);
      expect((await post(customer, chat("Hi", more))).status).toBe(502);
    }
    expect((await settled(customer)).balance).toBe(1_000_000n);
    const records = await shop.usageOf(customer.account);
    expect(records.map(({ notCharged }) => notCharged)).toEqual(["handler_failed", "handler_failed"]);
  });

  test("an error frame in the middle of a stream costs nothing", async () => {
    const customer = await shop.customer(1_000_000n);
    const stream = shop.upstream.stream();
    const answering = post(customer, chat("Hi", { stream: true }));
    await stream.delta("Hello");
    const answer = await answering;
    await stream.errorFrame();
    await stream.finish(usage);
    await answer.text().catch(() => "broken off");
    expect((await settled(customer)).balance).toBe(1_000_000n);
  });
});

describe("case 10: every route honours the limit", () => {
  test.each([
    ["/v1/chat/completions", "POST", chat("Hi")],
    ["/ai/chat/completions", "POST", chat("Hi")],
    ["/api/v1/chat/completions", "POST", chat("Hi")],
    ["/v1/embeddings", "POST", '{"model":"gpt-test","input":"x"}'],
    ["/agent", "POST", '{"prompt":"Hi"}'],
    ["/free-for-none", "GET", undefined],
  ] as const)("%s", async (path, method, body) => {
    const customer = await shop.customer(1_000_000n, { limit: 0n });
    const before = shop.upstream.calls.length;
    const answer = await fetch(shop.url + path, { method, headers: customer.headers, body: body ?? null });
    expect(answer.status).toBe(402);
    expect(JSON.stringify(await answer.json())).toContain("key_limit_reached");
    expect(shop.upstream.calls.length).toBe(before);
  });
});

describe("case 11: a small balance", () => {
  test("bears a small prompt without max_tokens, and the output is capped to what it can pay", async () => {
    const customer = await shop.customer(1_500n);
    const before = shop.upstream.calls.length;
    const answer = await post(customer, chat("Hi"));
    expect(answer.status).toBe(200);
    const sent = Number(shop.upstream.calls[before]?.json["max_tokens"]);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(750);
  });

  test("does not bear what was asked for in so many tokens, and the 402 says what it does", async () => {
    const customer = await shop.customer(1_500n);
    const answer = await post(customer, chat("Hi", { max_tokens: 1_000 }));
    expect(answer.status).toBe(402);
    expect(await answer.json()).toMatchObject({
      error: { code: "insufficient_credits", details: { affordable: "0.0015", currency: "USD" } },
    });
  });
});

describe("case 14 and 17: Idempotency-Key", () => {
  test("the same request again is charged once and gets the same answer; another is refused", async () => {
    const customer = await shop.customer(1_000_000n);
    const key = { "idempotency-key": "order-1" };
    const first = await post(customer, chat("Hi"), undefined, key);
    const text = await first.text();
    const again = await post(customer, chat("Hi"), undefined, key);
    expect(await again.text()).toBe(text);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
    const streamed = await post(customer, chat("Hi", { stream: true }), undefined, key);
    expect(streamed.status).toBe(409);
    expect(await streamed.json()).toMatchObject({ error: { code: "idempotency_key_reused" } });
    expect((await settled(customer)).balance).toBe(1_000_000n - 7n);
  });

  test("50 at once: the upstream is called once", async () => {
    const customer = await shop.customer(1_000_000n);
    const before = shop.upstream.calls.length;
    const key = { "idempotency-key": "order-2" };
    const calls = Array.from({ length: 50 }, () => post(customer, chat("Hi"), undefined, key));
    const statuses = (await Promise.all(calls)).map(({ status }) => status);
    expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([]);
    expect(shop.upstream.calls.length - before).toBe(1);
    expect((await settled(customer)).balance).toBe(1_000_000n - 7n);
  });

  test("a stream is replayed as the stream it was", async () => {
    const customer = await shop.customer(1_000_000n);
    const key = { "idempotency-key": "order-3" };
    const text = await (await post(customer, chat("Hi", { stream: true }), undefined, key)).text();
    await settled(customer);
    const again = await post(customer, chat("Hi", { stream: true }), undefined, key);
    expect(again.headers.get("content-type")).toContain("text/event-stream");
    expect(await again.text()).toBe(text);
    expect((await settled(customer)).balance).toBe(1_000_000n - 7n);
  });

  test("a call that failed is free to be made again", async () => {
    const customer = await shop.customer(1_000_000n);
    const key = { "idempotency-key": "order-4" };
    shop.upstream.next(answers.failure());
    expect((await post(customer, chat("Hi"), undefined, key)).status).toBe(502);
    expect((await post(customer, chat("Hi"), undefined, key)).status).toBe(200);
  });
});

describe("case 19: the books", () => {
  test("of a mixed day add up, and nothing is held at its end", async () => {
    const customer = await shop.customer(50_000n);
    const bodies = [chat("Hi"), chat("Hi", { stream: true }), chat("Hi", { model: "flat-test" })];
    shop.upstream.next(answers.failure(), 3);
    const calls = Array.from({ length: 60 }, (_, index) => post(customer, bodies[index % 3] ?? ""));
    await Promise.all((await Promise.all(calls)).map((answer) => answer.text()));
    const { balance, journal } = await settled(customer);
    expect(balance).toBe(journal);
    expect(balance).toBeGreaterThanOrEqual(0n);
    const charged = (await shop.usageOf(customer.account)).reduce((sum, record) => sum + record.charged, 0n);
    expect(balance).toBe(50_000n - charged);
    expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
  });
});
