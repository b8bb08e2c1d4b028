import { afterAll, beforeAll, expect, test } from "vitest";
import { since, soldOnce, tally } from "../e2e/shop-facts.ts";
import { type Buyer, createBuyer } from "../support/buyer.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** With model prices a keyless call is quoted the worst case that a key's hold would set aside. */
let shop: KeyedShop;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openKeyedShop();
  buyer = await createBuyer(shop);
});
afterAll(() => shop.close());

const URL_PATH = "/v1/chat/completions";

async function quoted(body: string | undefined): Promise<bigint> {
  const answer = await fetch(shop.url + URL_PATH, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: body ?? null,
  });
  expect(answer.status).toBe(402);
  const header = answer.headers.get("payment-required") ?? "";
  const { accepts } = JSON.parse(Buffer.from(header, "base64").toString()) as {
    accepts: { amount: string }[];
  };
  return BigInt(accepts[0]?.amount ?? 0);
}

test("the quote is the hold's worst case", async () => {
  const body = chat("Hi", { max_tokens: 100 });
  const amount = await quoted(body);
  const customer = await shop.customer(10_000_000n);
  const held = shop.upstream.hold();
  const running = fetch(shop.url + URL_PATH, { method: "POST", headers: customer.headers, body });
  await held.arrived;
  expect((await shop.books(customer.account)).held).toBe(amount);
  held.release();
  await (await running).text();
  // 200 for the output, and no more than a token for each byte of the prompt and its frame.
  expect(amount).toBeGreaterThan(200n);
  expect(amount).toBeLessThan(600n);
});

test("a longer answer costs more, and a flat model its price", async () => {
  expect(await quoted(chat("Hi", { max_tokens: 1_000 }))).toBeGreaterThan(
    await quoted(chat("Hi", { max_tokens: 100 })),
  );
  expect(await quoted(chat("Hi", { model: "flat-test" }))).toBe(10_000n);
});

test.each([
  ["no body", undefined],
  ["nonsense", "{nonsense"],
  ["a model that is not offered", chat("Hi", { model: "nobody" })],
])("%s is quoted the route's flat price", async (_, body) => {
  expect(await quoted(body)).toBe(20_000n);
});

test("the official client pays the quote and is served; the usage is recorded", async () => {
  const body = chat("Hi", { max_tokens: 100 });
  const amount = await quoted(body);
  const before = tally(shop);
  const answer = await buyer.fetch(shop.url + URL_PATH, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  expect(answer.status).toBe(200);
  await answer.text();
  expect(since(shop, before)).toEqual(soldOnce(amount));
  const account = `wallet:${buyer.address}`;
  await expect.poll(async () => (await shop.usageOf(account)).length).toBe(1);
  const [usage] = await shop.usageOf(account);
  expect(usage).toMatchObject({
    tier: "x402",
    payer: buyer.address,
    charged: amount,
    model: "gpt-test",
    promptTokens: 3,
    completionTokens: 2,
    status: 200,
    upstreamStatus: 200,
    notCharged: undefined,
  });
  expect(usage?.transaction).toBeTruthy();
});

test("a key without funds is offered this very call by wallet, at its quote", async () => {
  const body = chat("Hi", { max_tokens: 100 });
  const poor = await shop.customer(3n);
  const answer = await fetch(shop.url + URL_PATH, { method: "POST", headers: poor.headers, body });
  expect(answer.status).toBe(402);
  const header = answer.headers.get("payment-required") ?? "";
  const { accepts } = JSON.parse(Buffer.from(header, "base64").toString()) as {
    accepts: { amount: string }[];
  };
  expect(BigInt(accepts[0]?.amount ?? 0)).toBe(await quoted(body));
});

test("a payment for a cheap request does not buy a dear one", async () => {
  const init = (max_tokens: number) => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: chat("Hi", { max_tokens }),
  });
  const payment = await buyer.sign(shop.url + URL_PATH, init(10));
  const before = tally(shop);
  const answer = await buyer.send(shop.url + URL_PATH, init(1_000), payment);
  expect(answer.status).toBe(402);
  expect(since(shop, before)).toMatchObject({ upstreamCalls: 0, settled: 0 });
});
