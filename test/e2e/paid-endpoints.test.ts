import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Buyer, createBuyer, post, proofOf } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { chunksOf, provenOnChain, since, soldOnce, tally } from "./shop-facts.ts";

let shop: Shop;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openShop({
    yaml: `
prices: { agent: "$0.03", chat: "$0.02", embeddings: "$0.002" }
routes:
  "GET /report/:id": { upstream: default, price: "$0.05", description: One report }
`,
  });
  buyer = await createBuyer(shop);
});
afterAll(() => shop.close());

const chat = { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] };
const embeddings = { model: "gpt-test", input: ["a", "b"] };
const AGENT_REPLY = { success: true, reply: "Hello there!", model: "gpt-test", provider: "default" };
const CHAT_REPLY = {
  object: "chat.completion",
  choices: [{ message: { role: "assistant", content: "Hello there!" } }],
  usage: { total_tokens: 5 },
};
const VECTORS = { object: "list", data: [{ index: 0 }, { index: 1 }] };

const CALLS = [
  ["POST /agent", 30_000n, "/v1/chat/completions", post({ prompt: "Hi" }), AGENT_REPLY],
  ["POST /v1/chat/completions", 20_000n, "/v1/chat/completions", post(chat), CHAT_REPLY],
  ["POST /v1/embeddings", 2_000n, "/v1/embeddings", post(embeddings), VECTORS],
  ["POST /ai/chat/completions", 20_000n, "/v1/chat/completions", post(chat), CHAT_REPLY],
  ["POST /ai/embeddings", 2_000n, "/v1/embeddings", post(embeddings), VECTORS],
  ["POST /api/v1/chat/completions", 20_000n, "/v1/chat/completions", post(chat), CHAT_REPLY],
  ["POST /api/v1/embeddings", 2_000n, "/v1/embeddings", post(embeddings), VECTORS],
  ["GET /report/7?lang=en", 50_000n, "/v1/report/7?lang=en", {}, { method: "GET" }],
] as const;

function urlOf(call: string): string {
  return shop.url + call.slice(call.indexOf("/"));
}

describe.each([
  ["v2", (): typeof fetch => buyer.fetch],
  ["v1", (): typeof fetch => buyer.fetchV1],
] as const)("the official %s client", (_version, fetchOf) => {
  test.each(CALLS)("pays for %s", async (call, price, upstreamPath, init, reply) => {
    const before = tally(shop);
    const response = await fetchOf()(urlOf(call), init);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject(reply);
    expect(since(shop, before)).toEqual(soldOnce(price));
    expect(shop.upstream.calls.at(-1)?.path).toBe(upstreamPath);
    const transaction = await provenOnChain(shop, response);
    expect(shop.localnet.transfersTo(shop.localnet.merchant).at(-1)).toMatchObject({
      signature: transaction,
      payer: buyer.address,
      amount: price,
    });
    expect(proofOf(response)).toMatchObject({ payer: buyer.address, network: shop.config.caip2 });
    expect(response.headers.get("x-payment-response")).toBe(response.headers.get("payment-response"));
    expect(response.headers.get("cache-control")).toBe("private, no-store");
  });

  test.each([
    ["POST /v1/chat/completions", 20_000n],
    ["POST /ai/chat/completions", 20_000n],
    ["POST /api/v1/chat/completions", 20_000n],
  ] as const)(
    "%s streams: the first word is read before the model has found the second",
    async (call, price) => {
      const before = tally(shop);
      const script = shop.upstream.stream();
      const asked = fetchOf()(urlOf(call), post({ ...chat, stream: true }));
      await script.delta("one");
      const response = await asked;
      expect(response.headers.get("content-type")).toContain("text/event-stream");
      const chunks = chunksOf(response);
      expect((await chunks.next()).value).toContain('"content":"one"');
      expect(since(shop, before)).toEqual(soldOnce(price));
      await script.delta("two");
      expect((await chunks.next()).value).toContain('"content":"two"');
      await script.finish();
      let rest = "";
      for await (const chunk of chunks) rest += chunk;
      expect(rest).toMatch(/data: \[DONE\]\n\n$/);
      expect(since(shop, before)).toEqual(soldOnce(price));
      await provenOnChain(shop, response);
    },
  );

  test("POST /agent streams, and its last event names the transaction of PAYMENT-RESPONSE", async () => {
    const before = tally(shop);
    const script = shop.upstream.stream();
    const asked = fetchOf()(`${shop.url}/agent`, post({ prompt: "Hi", stream: true }));
    await script.delta("one");
    const response = await asked;
    const chunks = chunksOf(response);
    expect((await chunks.next()).value).toBe('data: {"delta":"one"}\n\n');
    await script.delta(" two");
    expect((await chunks.next()).value).toBe('data: {"delta":" two"}\n\n');
    await script.finish();
    let rest = "";
    for await (const chunk of chunks) rest += chunk;
    const [last = "", done] = rest.trim().split("\n\n");
    expect(done).toBe("data: [DONE]");
    const transaction = await provenOnChain(shop, response);
    expect(JSON.parse(last.slice("data: ".length))).toMatchObject({
      done: true,
      billing: { tier: "x402", amount: "0.03", currency: "USD", transaction, payer: buyer.address },
    });
    expect(since(shop, before)).toEqual(soldOnce(30_000n));
  });
});

test("the billing of POST /agent names tier, price, payer and the transaction that the chain has", async () => {
  const response = await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }));
  const { billing, usage } = (await response.json()) as Record<string, unknown>;
  const transaction = await provenOnChain(shop, response);
  expect(billing).toEqual({
    tier: "x402",
    amount: "0.03",
    currency: "USD",
    transaction,
    payer: buyer.address,
  });
  expect(usage).toEqual({ promptTokens: 3, completionTokens: 2, totalTokens: 5 });
});

test("the upstream sees neither the payment nor the caller's credentials", async () => {
  const url = `${shop.url}/report/8`;
  const payment = await buyer.sign(url);
  const private_ = { authorization: "Basic c2VjcmV0", cookie: "a=b", "if-none-match": "*" };
  const response = await buyer.send(url, { headers: private_ }, payment);
  expect(response.status).toBe(200);
  const { headers } = shop.upstream.calls.at(-1) ?? { headers: {} };
  const names = Object.keys(headers);
  for (const hidden of ["payment-signature", "authorization", "cookie", "if-none-match"]) {
    expect(names).not.toContain(hidden);
  }
});
