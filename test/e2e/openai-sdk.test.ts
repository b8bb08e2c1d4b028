import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Buyer, createBuyer } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { since, soldOnce, tally } from "./shop-facts.ts";

const PRICE = 20_000n;

let shop: Shop;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openShop();
  buyer = await createBuyer(shop);
});
afterAll(() => shop.close());

describe.each(["/v1", "/ai", "/api/v1"])("the openai package at %s, keyless", (mount) => {
  const messages = [{ role: "user" as const, content: "Hi" }];

  function client(): OpenAI {
    return new OpenAI({
      baseURL: shop.url + mount,
      apiKey: "not used",
      // A bearer key that this route does not sell for is refused, never ignored.
      defaultHeaders: { Authorization: null },
      fetch: buyer.fetch,
      maxRetries: 0,
    });
  }

  test("completes a chat", async () => {
    const before = tally(shop);
    const answer = await client().chat.completions.create({ model: "gpt-test", messages });
    expect(answer.choices[0]?.message.content).toBe("Hello there!");
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("streams a chat", async () => {
    const before = tally(shop);
    const stream = await client().chat.completions.create({ model: "gpt-test", messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe("Hello there!");
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("makes embeddings", async () => {
    const before = tally(shop);
    const answer = await client().embeddings.create({ model: "gpt-test", input: ["a", "b"] });
    expect(answer.data.map(({ embedding }) => embedding)).toEqual([
      [0.25, -0.5, 1],
      [0.25, -0.5, 1],
    ]);
    expect(since(shop, before)).toEqual(soldOnce(2_000n));
  });

  test("hears of a model that is not offered before it has paid", async () => {
    const before = tally(shop);
    const asked = client().chat.completions.create({ model: "no-such-model", messages });
    await expect(asked).rejects.toMatchObject({ status: 404 });
    expect(since(shop, before)).toMatchObject({ transfers: 0, settled: 0, upstreamCalls: 0 });
  });
});

test("with a key that is none of ours it is refused, and neither charged nor served", async () => {
  const before = tally(shop);
  const keyed = new OpenAI({
    baseURL: `${shop.url}/v1`,
    apiKey: "sk-somebody",
    fetch: buyer.fetch,
    maxRetries: 0,
  });
  const asked = keyed.chat.completions.create({
    model: "gpt-test",
    messages: [{ role: "user", content: "Hi" }],
  });
  await expect(asked).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  expect(since(shop, before)).toMatchObject({ transfers: 0, settled: 0, upstreamCalls: 0 });
});
