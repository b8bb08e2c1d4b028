import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { chat, type KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, post, proofOf, termsOf } from "../support/buyer.ts";
import { expectBooksClosed, openCreditShop, order, read } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop({ yaml: `prices: { agent: "$0.05" }\n` });
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const ask = (secret: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
    body: chat("hi"),
    ...init,
  });

describe("an agent with a wallet and nothing else", () => {
  test("one payment with the official client gives a key that is metered", async () => {
    const buyer = await createBuyer(shop);
    const response = await buyer.fetch(`${shop.url}/keys`, post({ amount: "0.50", label: "my agent" }));
    const proof = proofOf(response);
    const { status, body, headers } = await read(response);
    const account = `wallet:${buyer.address}`;
    expect(status).toBe(200);
    expect(headers.get("cache-control")).toBe("private, no-store");
    expect(body).toMatchObject({
      id: expect.stringMatching(/^key_/),
      key: expect.stringMatching(/^sk_farebox_/),
      label: "my agent",
      account,
      amount: "0.50",
      currency: "USD",
      transaction: proof.transaction,
      balance: "0.50",
      repeated: false,
    });
    expect((await ask(body["key"])).status).toBe(200);
    const { balance } = await shop.books(account);
    expect(balance).toBeGreaterThan(499_000n);
    expect(balance).toBeLessThan(500_000n);

    const [call, topUp] = await shop.usageOf(account);
    expect(call).toMatchObject({ tier: "key", charged: 500_000n - balance });
    expect(topUp).toMatchObject({
      ...{ tier: "x402", route: "POST /keys", payer: buyer.address, transaction: proof.transaction },
      ...{ charged: 500_000n, held: 0n, status: 200, notCharged: undefined },
    });
    const line = await shop.line({ route: "/keys", status: 200, account });
    expect(line).toMatchObject({ tier: "x402", price: "0.50", payer: buyer.address });
    expect(JSON.stringify(shop.lines)).not.toContain(body["key"]);
  });

  test("without a body the usual amount is asked, under version 2 alone", async () => {
    const response = await fetch(`${shop.url}/keys`, { method: "POST" });
    const terms = termsOf(response);
    expect(response.status).toBe(402);
    expect(terms.accepts).toMatchObject([{ amount: "1000000", payTo: shop.localnet.merchant }]);
    expect(await response.json()).toMatchObject({ x402Version: 2, accepts: terms.accepts });
  });

  test("a key's own limits are what was ordered", async () => {
    const buyer = await createBuyer(shop);
    const body = {
      amount: "0.10",
      ...{ limit: "0.02", limit_reset: "daily", expires_at: "30d" },
      ...{ permissions: ["chat:read"], models: ["gpt-test"], rpm: 1 },
    };
    const answer = await (await order(shop, buyer, "/keys", body)).send();
    expect(answer.body).toMatchObject({
      ...{
        limit_usd: "0.02",
        limit_reset: "daily",
        permissions: ["chat:read"],
        models: ["gpt-test"],
        rpm: 1,
      },
      expires_at: expect.any(String),
    });
    const agent = await ask(answer.body["key"]).then(() =>
      fetch(`${shop.url}/agent`, {
        ...post({ prompt: "hi" }),
        headers: { authorization: `Bearer ${answer.body["key"]}` },
      }),
    );
    expect(agent.status).toBe(403);
    expect((await ask(answer.body["key"])).status).toBe(429);
  });

  test("what it is owed for a call that was not served is spendable with the key", async () => {
    const buyer = await createBuyer(shop);
    const stream = shop.upstream.stream();
    const called = buyer.fetch(`${shop.url}/agent`, post({ prompt: "hi", stream: true }));
    await stream.delta("One ");
    const { body } = await called;
    await stream.breakOff();
    await expect(new Response(body).text()).rejects.toThrow();
    const owed = (await shop.line({ tier: "x402", route: "/agent", payer: buyer.address }))["price"];
    const answer = await (await order(shop, buyer, "/keys", { amount: "0.01" })).send();
    const total = Number(owed) + 0.01;
    expect(Number(answer.body["balance"])).toBeCloseTo(total, 6);
    const whole = { max_tokens: 1_000, model: "flat-test" };
    for (let calls = 0; calls < 3; calls += 1) {
      const response = await ask(answer.body["key"], { body: chat("hi", whole) });
      expect(response.status).toBe(calls < Math.floor(total / 0.01) ? 200 : 402);
    }
  });
});

describe("the same payment again", () => {
  test("gives the key's id, and neither a second key nor the secret", async () => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, "/keys", { amount: "0.05", label: "once" });
    const first = await purchase.send();
    const again = await purchase.send();
    expect(again).toMatchObject({ status: 200, code: undefined });
    expect(again.body).toMatchObject({
      ...{ id: first.body["id"], account: purchase.account, amount: "0.05", balance: "0.05" },
      ...{ transaction: first.body["transaction"], repeated: true, note: expect.stringContaining("once") },
    });
    expect(again.body).not.toHaveProperty("key");
    expect(again.text).not.toContain(String(first.body["key"]));
    expect(again.headers.get("payment-response")).toBe(first.headers.get("payment-response"));
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
  });

  test("at once, many times: one key, one secret, one credit", async () => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, "/keys", { amount: "0.05" });
    const answers = await Promise.all(Array.from({ length: 8 }, () => purchase.send()));
    const secrets = answers.flatMap(({ body }) => (typeof body["key"] === "string" ? [body["key"]] : []));
    expect(secrets).toHaveLength(1);
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
    for (const { status, code } of answers) {
      if (status !== 200) expect({ status, code }).toEqual({ status: 409, code: "payment_in_progress" });
    }
    expect((await shop.books(purchase.account)).balance).toBe(50_000n);
    expect((await ask(secrets[0])).status).toBe(200);
  });

  test("for another request is refused, and makes nothing", async () => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, "/keys", { amount: "0.05", label: "one" });
    await purchase.send();
    const other = await purchase.send({ body: { amount: "0.05", label: "two" } });
    expect(other).toMatchObject({ status: 409, code: "payment_already_used" });
    const elsewhere = await purchase.send({ path: "/topup", body: { amount: "0.05" } });
    expect(elsewhere).toMatchObject({ status: 409, code: "payment_already_used" });
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
  });

  test("after its client left while it was settled: the retry is shown the secret", async () => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, "/keys", { amount: "0.05" });
    const settle = shop.facilitator.hold("settle");
    const leaving = new AbortController();
    const headers = { ...(purchase.init.headers as Record<string, string>), ...purchase.payment };
    const left = fetch(purchase.url, { ...purchase.init, headers, signal: leaving.signal });
    await settle.arrived;
    leaving.abort();
    await expect(left).rejects.toThrow();
    settle.release();
    await shop.line({ route: "/keys", payer: buyer.address, status: 200 });
    let answer = await purchase.send();
    while (answer.code === "payment_in_progress") answer = await purchase.send();
    expect(answer.body).toMatchObject({ key: expect.any(String), balance: "0.05" });
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
  });
});

describe("a label", () => {
  test("with markup is stored, and comes back as JSON and nothing else", async () => {
    const buyer = await createBuyer(shop);
    const label = `<script>alert("1")</script>`;
    const answer = await (await order(shop, buyer, "/keys", { amount: "0.01", label })).send();
    expect(answer.body["label"]).toBe(label);
    expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect([...answer.headers.values()].join("\n")).not.toContain("script");
  });

  test.each([
    ["a header in it", "x\r\nSet-Cookie: a=b"],
    ["nothing in it", ""],
    ["too much in it", "x".repeat(101)],
  ])("with %s is refused before there are terms", async (_name, label) => {
    const answer = await read(await fetch(`${shop.url}/keys`, post({ label })));
    expect(answer).toMatchObject({ status: 400, code: "invalid_request" });
    expect(answer.headers.get("set-cookie")).toBeNull();
    expect(answer.headers.get("payment-required")).toBeNull();
  });
});
