import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, post } from "../support/buyer.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** Calls without a credential that could be read: what is sold to keys only, and keys that are written wrongly. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: `
tiers: [key]
routes:
  "POST /flat": { upstream: default, price: "$0.01", tiers: [key] }
  "POST /either": { upstream: default, price: "$0.01", tiers: [x402, key] }
keys: { prefixes: [sr_, sk-srt-] }
`,
  });
});
afterAll(() => shop.close());

async function ask(path: string, headers: Readonly<Record<string, string>>) {
  const body = path === "/agent" ? '{"prompt":"Hi"}' : path === "/topup" ? "{}" : chat("Hi");
  const answer = await fetch(shop.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  return { status: answer.status, headers: answer.headers, body: await answer.json() };
}

describe("what no wallet can buy", () => {
  test.each([
    ["/v1/chat/completions", "invalid_api_key"],
    ["/ai/chat/completions", "invalid_api_key"],
    ["/api/v1/chat/completions", 401],
    ["/agent", "invalid_api_key"],
    ["/flat", "invalid_api_key"],
  ] as const)("%s asks for a key, and offers no terms", async (path, code) => {
    for (const credential of [{}, { authorization: "Basic dXNlcjpwYXNz" }, { authorization: "" }]) {
      const { status, headers, body } = await ask(path, credential);
      expect(status).toBe(401);
      expect(headers.get("www-authenticate")).toBe("Bearer");
      expect(headers.get("payment-required")).toBeNull();
      expect(body).toMatchObject({ error: { type: "authentication_error", code } });
    }
  });

  test("a payment is refused as the wrong credential, and nothing is spent", async () => {
    const buyer = await createBuyer(shop);
    const init = post({});
    const payment = await buyer.sign(`${shop.url}/either`, init);
    const answer = await buyer.send(`${shop.url}/flat`, init, payment);
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
    expect(await answer.json()).toMatchObject({ error: { code: "tier_not_accepted" } });
  });
});

describe("a key that is not sent as Bearer", () => {
  test.each([
    ["the key alone", (key: string) => key],
    ["another scheme", (key: string) => `Token ${key}`],
    ["a colon", (key: string) => `Bearer:${key}`],
    ["an equals sign", (key: string) => `ApiKey key=${key}`],
    ["quotes", (key: string) => `Token "${key}"`],
  ])("%s: 401 and not the price, at every kind of route", async (_, written) => {
    const customer = await shop.customer(1_000_000n, {}, "sk-srt-");
    for (const path of ["/flat", "/either", "/v1/chat/completions", "/topup"]) {
      const { status, headers, body } = await ask(path, { authorization: written(customer.secret) });
      expect(status).toBe(401);
      expect(headers.get("www-authenticate")).toBe("Bearer");
      expect(body).toMatchObject({ error: { code: "invalid_api_key" } });
      expect(JSON.stringify(body)).not.toContain(customer.secret);
    }
    expect(await shop.books(customer.account)).toMatchObject({ balance: 1_000_000n, held: 0n });
  });

  test.each(["Basic dXNlcjpwYXNz", "junk", "Token abc", "Token xsr_abc"])(
    "%j is none, and is asked to pay where wallets may",
    async (authorization) => {
      const { status, headers } = await ask("/either", { authorization });
      expect(status).toBe(402);
      expect(headers.get("payment-required")).toBeTruthy();
    },
  );
});
