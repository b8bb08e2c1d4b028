import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: "keys: { callTimeout: 2s, holdLease: 1s }\nlimits: { badCredentialsPerMinute: 5 }\n",
  });
});
afterAll(() => shop.close());

function post(customer: Customer, body: string): Promise<Response> {
  return fetch(`${shop.url}/v1/chat/completions`, { method: "POST", headers: customer.headers, body });
}

describe("a call may run for so long", () => {
  test("one that has not begun to answer is 504, uncharged, and the upstream is cancelled", async () => {
    const customer = await shop.customer(1_000_000n);
    shop.upstream.hold();
    const answer = await post(customer, chat("Hi"));
    expect(answer.status).toBe(504);
    await shop.upstream.waitAborted();
    await expect.poll(() => shop.books(customer.account)).toMatchObject({ balance: 1_000_000n, held: 0n });
    const [usage] = await shop.usageOf(customer.account);
    expect(usage).toMatchObject({ charged: 0n, notCharged: "time_limit" });
  });

  test("one that streams ends, and costs what it produced; its hold was renewed until then", async () => {
    const customer = await shop.customer(1_000_000n);
    const stream = shop.upstream.stream();
    const answering = post(customer, chat("Hi", { stream: true }));
    await stream.arrived;
    await stream.delta("Once upon a time");
    const answer = await answering;
    expect(await answer.text()).toContain("Once upon a time");
    // The first count of a process waits for its tokenizer.
    await expect.poll(async () => (await shop.books(customer.account)).held, { timeout: 12_000 }).toBe(0n);
    const [usage] = await shop.usageOf(customer.account);
    expect(usage?.estimated).toBe(true);
    expect(usage?.charged).toBeGreaterThan(0n);
  }, 20_000);
});

test("a client that stops reading pays for what was produced, and is cut off after the time limit", async () => {
  const customer = await shop.customer(1_000_000n);
  const chunk = "word ".repeat(20_000);
  shop.upstream.next((_, res) => {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    const data = { choices: [{ index: 0, delta: { content: chunk } }] };
    for (let sent = 0; sent < 60; sent += 1) res.write(`data: ${JSON.stringify(data)}\n\n`);
  });
  const { hostname, port } = new URL(shop.url);
  const path = "/v1/chat/completions";
  const req = request({ hostname, port, path, method: "POST", headers: customer.headers });
  const gone = new Promise<void>((resolve) => {
    req.on("response", (res) => {
      res.once("data", () => res.pause());
      res.on("error", () => resolve());
      res.on("close", () => resolve());
    });
    req.on("error", () => resolve());
  });
  req.end(chat("Hi", { stream: true }));
  await expect.poll(async () => (await shop.usageOf(customer.account)).length, { timeout: 12_000 }).toBe(1);
  expect((await shop.books(customer.account)).held).toBe(0n);
  const [usage] = await shop.usageOf(customer.account);
  expect(usage?.charged).toBe(usage?.held);
  expect(usage?.charged).toBeGreaterThan(1_000n);
  await shop.line({ account: customer.account });
  req.destroy();
  await gone;
}, 20_000);

test("a key may run so many calls at once", async () => {
  const customer = await shop.customer(1_000_000n, { concurrency: 1 });
  const held = shop.upstream.hold();
  const first = post(customer, chat("Hi"));
  await held.arrived;
  const second = await post(customer, chat("Hi"));
  expect(second.status).toBe(429);
  expect(await second.json()).toMatchObject({ error: { code: "concurrency_limit_exceeded" } });
  held.release();
  expect((await first).status).toBe(200);
  expect((await post(customer, chat("Hi"))).status).toBe(200);
});

test("an answer that is given again does not say what was left of the rate at the first time", async () => {
  const customer = await shop.customer(1_000_000n, { rpm: 3 });
  const headers = { ...customer.headers, "idempotency-key": "once" };
  const init = { method: "POST", headers, body: chat("Hi") };
  const first = await fetch(`${shop.url}/v1/chat/completions`, init);
  expect(first.headers.get("ratelimit-remaining")).toBe("2");
  const again = await fetch(`${shop.url}/v1/chat/completions`, init);
  expect(again.headers.get("idempotent-replayed")).toBe("true");
  expect([...again.headers.keys()].filter((name) => name.startsWith("ratelimit"))).toEqual([]);
  expect(await again.text()).toBe(await first.text());
});

test("a server that stops breaks off a model's stream, for nothing", async () => {
  const customer = await shop.customer(1_000_000n);
  const stream = shop.upstream.stream();
  const streaming = post(customer, chat("Hi", { stream: true }));
  await stream.arrived;
  await stream.delta("Once");
  const streamed = await streaming;
  const broken = expect(streamed.text()).rejects.toThrow();
  await shop.restart();
  await broken;
  expect(await shop.books(customer.account)).toMatchObject({ balance: 1_000_000n, held: 0n });
  expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
});

test("two Authorization headers are refused: what is in front may have read the other", async () => {
  const customer = await shop.customer(1_000_000n);
  const { hostname, port } = new URL(shop.url);
  const req = request({ hostname, port, path: "/v1/chat/completions", method: "POST" });
  req.setHeader("authorization", [`Bearer ${customer.secret}`, "Bearer other"]);
  req.setHeader("content-type", "application/json");
  const status = await new Promise<number | undefined>((resolve, reject) => {
    req.on("response", (res) => {
      res.resume();
      resolve(res.statusCode);
    });
    req.on("error", reject);
    req.end(chat("Hi"));
  });
  expect(status).toBe(401);
});

test("bad credentials are heard so often a minute; a good key from the same address all the while", async () => {
  const good = await shop.customer(1_000_000n);
  expect((await post(good, chat("Hi"))).status).toBe(200);
  const statuses: number[] = [];
  let last = new Headers();
  for (let index = 0; index < 8; index += 1) {
    const answer = await fetch(`${shop.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer sk_farebox_nonsense" },
    });
    statuses.push(answer.status);
    last = answer.headers;
    await answer.text();
  }
  expect(statuses).toContain(401);
  expect(statuses.at(-1)).toBe(429);
  expect(last.get("ratelimit-limit")).toBe("5");
  expect(last.get("ratelimit-remaining")).toBe("0");
  expect(last.get("ratelimit-reset")).toBe(last.get("retry-after"));
  expect(Number(last.get("retry-after"))).toBeGreaterThan(0);
  expect((await post(good, chat("Hi"))).status).toBe(200);
});

test.each(["revoked", "expired"])(
  "a %s key counts as a bad one, though it was good a moment before",
  async (what) => {
    const strict = await openKeyedShop({ yaml: "limits: { badCredentialsPerMinute: 3 }\n" });
    const ask = async (customer: Customer) => {
      const answer = await fetch(`${strict.url}/v1/chat/completions`, {
        method: "POST",
        headers: customer.headers,
        body: chat("Hi"),
      });
      await answer.text();
      return answer.status;
    };
    try {
      const [good, bad] = [await strict.customer(1_000_000n), await strict.customer(1_000_000n)];
      expect([await ask(good), await ask(bad)]).toEqual([200, 200]);
      const { ledger } = strict.gateway;
      if (what === "revoked") await ledger.revokeKey(bad.keyId);
      else await ledger.changeKey(bad.keyId, { expiresAt: 1 });
      const statuses: number[] = [];
      for (let count = 0; count < 5; count += 1) statuses.push(await ask(bad));
      expect(statuses).toEqual([401, 401, 401, 429, 429]);
      expect(await ask(good)).toBe(200);
    } finally {
      await strict.close();
    }
  },
);
