import { afterAll, beforeAll, expect, test } from "vitest";
import { formatUsd } from "../../server/money.ts";
import { createProviderKeyBox } from "../../server/provider-keys.ts";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** Case 18: with the customer's own provider key only the platform's fee is charged, and the upstream's cost is shown apart. */
const OWN_KEY = "sk-customer-own-0123456789abcdef";

let shop: KeyedShop;
let customer: Customer;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: 'byok: { fee: "10%" }\n',
    env: { FAREBOX_MASTER_KEY: Buffer.alloc(32, 7).toString("base64"), UPSTREAM_API_KEY: "sk-operator" },
  });
  customer = await shop.customer(1_000_000n);
  const box = createProviderKeyBox(shop.config.ownKeys.masterKeys);
  const sealed = box.seal(customer.account, "default", OWN_KEY);
  await shop.gateway.ledger.setProviderKey(customer.account, "default", sealed);
});
afterAll(() => shop.close());

function ask(stream: boolean): Promise<Response> {
  return fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hi", stream ? { stream } : {}),
  });
}

test.each([false, true])(
  "case 18: the call goes out on the customer's key, for the fee (stream: %s)",
  async (stream) => {
    const { balance } = await shop.books(customer.account);
    const before = shop.upstream.calls.length;
    const answer = await ask(stream);
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toContain(OWN_KEY);
    expect(shop.upstream.calls[before]?.headers.authorization).toBe(`Bearer ${OWN_KEY}`);
    await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
    const [usage] = await shop.usageOf(customer.account);
    // A tenth of 7, rounded up.
    expect(usage).toMatchObject({ charged: 1n, upstreamCost: 7n });
    expect((await shop.books(customer.account)).balance).toBe(balance - 1n);
  },
);

test("a small balance that could not pay the model itself is enough, and caps nothing", async () => {
  const poor = await shop.customer(400n);
  const box = createProviderKeyBox(shop.config.ownKeys.masterKeys);
  await shop.gateway.ledger.setProviderKey(
    poor.account,
    "default",
    box.seal(poor.account, "default", OWN_KEY),
  );
  const before = shop.upstream.calls.length;
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: poor.headers,
    body: chat("Hi"),
  });
  expect(answer.status).toBe(200);
  expect(shop.upstream.calls[before]?.json["max_tokens"]).toBe(1_000);
});

test("a balance that cannot pay the fee is told what the fee comes to, not the model's price", async () => {
  const poor = await shop.customer(1n);
  const box = createProviderKeyBox(shop.config.ownKeys.masterKeys);
  const sealed = box.seal(poor.account, "default", OWN_KEY);
  const needed = async () => {
    const init = { method: "POST", headers: poor.headers, body: chat("Hi") };
    const answer = await fetch(`${shop.url}/v1/chat/completions`, init);
    expect(answer.status).toBe(402);
    const { error } = (await answer.json()) as { error: { details: { needed: string } } };
    return error.details.needed;
  };
  const full = await needed();
  await shop.gateway.ledger.setProviderKey(poor.account, "default", sealed);
  // What the same call holds of an account that can pay it.
  expect((await ask(false)).status).toBe(200);
  await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
  const [usage] = await shop.usageOf(customer.account);
  expect(await needed()).toBe(formatUsd(usage?.held ?? 0n));
  expect(await needed()).not.toBe(full);
});

test("what is held is the fee of the most that the call can come to: a key's limit makes nothing cheaper", async () => {
  // The fee of what must at least be admitted for the operator's key is below 100, that of the most above 200.
  const limited = await shop.keyFor(customer.account, { limit: 100n });
  const before = shop.upstream.calls.length;
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: limited.headers,
    body: chat("Hi"),
  });
  expect(answer.status).toBe(402);
  expect(await answer.json()).toMatchObject({ error: { code: "key_limit_reached" } });
  expect(shop.upstream.calls.length).toBe(before);
});

test("an upstream that checks no key takes none: whatever was stored, the full price is charged", async () => {
  const free = await openKeyedShop({
    yaml: 'byok: { fee: "10%" }\nroutes: { "POST /work": { upstream: default, price: "$0.10", tiers: [key] } }\n',
    env: { FAREBOX_MASTER_KEY: Buffer.alloc(32, 7).toString("base64") },
  });
  try {
    const someone = await free.customer(1_000_000n);
    const sealed = createProviderKeyBox(free.config.ownKeys.masterKeys).seal(
      someone.account,
      "default",
      OWN_KEY,
    );
    await free.gateway.ledger.setProviderKey(someone.account, "default", sealed);
    for (const [path, body] of [
      ["/v1/chat/completions", chat("Hi")],
      ["/work", "{}"],
    ]) {
      const answer = await fetch(`${free.url}${path}`, {
        method: "POST",
        headers: someone.headers,
        body: body ?? "",
      });
      expect(answer.status).toBe(200);
      await answer.text();
    }
    expect(JSON.stringify(free.upstream.calls)).not.toContain(OWN_KEY);
    await expect.poll(async () => (await free.books(someone.account)).held).toBe(0n);
    expect((await free.books(someone.account)).balance).toBe(1_000_000n - 7n - 100_000n);
  } finally {
    await free.close();
  }
});

test("a key sealed for another account is not used, and neither is the operator's in its place", async () => {
  const other = await shop.customer(1_000_000n);
  const box = createProviderKeyBox(shop.config.ownKeys.masterKeys);
  const stolen = box.seal(customer.account, "default", OWN_KEY);
  await shop.gateway.ledger.setProviderKey(other.account, "default", stolen);
  const before = shop.upstream.calls.length;
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: other.headers,
    body: chat("Hi"),
  });
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ error: { code: "provider_key_unusable" } });
  expect(shop.upstream.calls.length).toBe(before);
  expect(await shop.books(other.account)).toMatchObject({ balance: 1_000_000n, held: 0n });
});

test.each([
  [
    "under a master key that is not there",
    createProviderKeyBox([{ id: "another", key: Buffer.alloc(32, 8) }]),
    "it was sealed under a key that FAREBOX_MASTER_KEY does not have",
  ],
  ["for another account", undefined, "it is altered, or was sealed for another account"],
])(
  "the log tells the operator of a key that was sealed %s, and why it does not open",
  async (_, other, why) => {
    const someone = await shop.customer(1_000_000n);
    const box = other ?? createProviderKeyBox(shop.config.ownKeys.masterKeys);
    const account = other === undefined ? customer.account : someone.account;
    const sealed = box.seal(account, "default", OWN_KEY);
    await shop.gateway.ledger.setProviderKey(someone.account, "default", sealed);
    const answer = await fetch(`${shop.url}/v1/chat/completions`, {
      method: "POST",
      headers: someone.headers,
      body: chat("Hi"),
    });
    expect(answer.status).toBe(503);
    await answer.text();
    expect(await shop.line({ account: someone.account, level: "warn" })).toMatchObject({
      provider: "default",
      msg: `a customer's own provider key cannot be opened: ${why}`,
    });
  },
);

test("deleting it falls back to the operator's key and the full price", async () => {
  await shop.gateway.ledger.deleteProviderKey(customer.account, "default");
  const before = shop.upstream.calls.length;
  expect((await ask(false)).status).toBe(200);
  expect(shop.upstream.calls[before]?.headers.authorization).toBe("Bearer sk-operator");
  const [usage] = await shop.usageOf(customer.account);
  expect(usage).toMatchObject({ charged: 7n, upstreamCost: undefined });
});
