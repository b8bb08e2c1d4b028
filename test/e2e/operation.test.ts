import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, payloadOf, post, proofOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { reaches } from "./shop-facts.ts";

const UPSTREAM_KEY = "sk-upstream-0123456789abcdef";
const ask = post({ prompt: "Hi" });

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({
    env: { ADMIN_PORT: "0", UPSTREAM_API_KEY: UPSTREAM_KEY, LOG_LEVEL: "trace" },
    yaml: 'routes: { "GET /report/:id": { upstream: default, price: "$0.05" } }',
  });
});
afterAll(() => shop.close());

async function metric(sample: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/metrics`);
  const line = (await response.text()).split("\n").find((each) => each.startsWith(`${sample} `));
  return Number(line?.slice(sample.length + 1) ?? 0);
}

test("/healthz and /readyz are 200, uncached, with every part named", async () => {
  const health = await fetch(`${shop.url}/healthz`);
  expect([health.status, health.headers.get("cache-control")]).toEqual([200, "no-store"]);
  const ready = await fetch(`${shop.url}/readyz`);
  expect([ready.status, ready.headers.get("cache-control")]).toEqual([200, "no-store"]);
  expect(await ready.json()).toEqual({
    status: "ready",
    checks: { ledger: { ok: true }, facilitator: { ok: true }, "upstream:default": { ok: true } },
  });
});

describe("metrics", () => {
  test("are on the admin port alone", async () => {
    const admin = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/metrics`);
    expect(admin.status).toBe(200);
    expect(admin.headers.get("content-type")).toContain("text/plain");
    expect(await admin.text()).toContain("# TYPE farebox_requests_total counter");
    expect((await fetch(`${shop.url}/metrics`)).status).toBe(404);
    const elsewhere = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/agent`, ask);
    expect(elsewhere.status).toBe(404);
  });

  test("count a sale: the challenge, the paid call, verify, settle, the states", async () => {
    const samples = {
      'farebox_requests_total{route="POST /agent",tier="none",status="402"}': 1,
      'farebox_requests_total{route="POST /agent",tier="x402",status="200"}': 1,
      'farebox_facilitator_total{op="verify",outcome="ok"}': 1,
      'farebox_facilitator_total{op="settle",outcome="ok"}': 1,
      farebox_settle_seconds_count: 1,
      'farebox_payments_total{state="settled"}': 1,
      'farebox_payments_total{state="delivered"}': 1,
    };
    const names = Object.keys(samples);
    const before = await Promise.all(names.map(metric));
    const buyer = await createBuyer(shop);
    await (await buyer.fetch(`${shop.url}/agent`, ask)).text();
    await expect
      .poll(async () => {
        const now = await Promise.all(names.map(metric));
        return Object.fromEntries(
          names.map((name, index) => [name, (now[index] ?? 0) - (before[index] ?? 0)]),
        );
      })
      .toEqual(samples);
  });

  test("say how many settlements are undecided", async () => {
    const buyer = await createBuyer(shop);
    shop.facilitator.fail("settle", faults.reset);
    expect((await buyer.fetch(`${shop.url}/agent`, ask)).status).toBe(503);
    await shop.gateway.payments.reconciler.sweep();
    await expect.poll(() => metric("farebox_undecided_payments")).toBe(1);
    expect(await metric('farebox_payments_total{state="unknown"}')).toBe(1);
  });
});

test("one log line for each request, with tier, route, price, payer, transaction, status and time", async () => {
  const buyer = await createBuyer(shop);
  const response = await buyer.fetch(`${shop.url}/report/42?secret=1`, {});
  const { transaction } = proofOf(response);
  await response.text();
  const line = await shop.line({ transaction });
  expect(line).toEqual({
    level: "info",
    time: expect.any(Number),
    method: "GET",
    route: "/report/:id",
    tier: "x402",
    price: "0.05",
    status: 200,
    ms: expect.any(Number),
    payer: buyer.address,
    transaction,
  });
  expect(shop.lines.filter((each) => each["transaction"] === transaction)).toHaveLength(1);
});

describe("a request for something that is not sold is one log line too", () => {
  test.each([
    ["GET", "/v1/models", 200, "/v1/models"],
    ["GET", "/AI/models/", 200, "/ai/models"],
    ["GET", "/openapi.json", 200, "/openapi.json"],
    ["POST", "/.well-known/x402", 405, "/.well-known/x402"],
    ["GET", "/v1/key", 401, "/v1/key"],
    ["PATCH", "/agent", 405, "-"],
    ["OPTIONS", "/agent", 204, "-"],
    ["HEAD", "/sk_farebox_0123456789abcdefghijklmnopqrstuvwxyz", 404, "-"],
    ["GET", "/account/keys/key_0123456789", 404, "/account/*"],
    ["GET", "/%zz", 404, "-"],
  ])("%s %s", async (method, path, status, route) => {
    const from = shop.lines.length;
    expect((await fetch(`${shop.url}${path}?secret=1`, { method })).status).toBe(status);
    const answered = () => shop.lines.slice(from).filter((each) => "ms" in each);
    const line = { level: "info", method, route, tier: "none", price: "0.00", status };
    await expect.poll(answered).toEqual([{ ...line, time: expect.any(Number), ms: expect.any(Number) }]);
  });

  test("health checks, which come every second, at level debug", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const line = shop.line({ route: path });
      await (await fetch(`${shop.url}${path}`)).text();
      expect(await line).toMatchObject({ level: "debug", method: "GET", status: 200 });
    }
  });
});

test("no line of the log holds a payment header, a token, a credential, a key, a prompt or a reply", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "a prompt nobody logs" });
  const payment = await buyer.sign(`${shop.url}/agent`, init);
  const bearer = "sk-caller-0123456789abcdef";
  shop.upstream.next(answers.chat("a reply nobody logs"));
  expect((await buyer.send(`${shop.url}/agent`, init, payment)).status).toBe(200);
  await reaches(shop, payment, "delivered");
  // Faults are where secrets leak: a broken upstream, a facilitator that answers nonsense, a bad bearer key.
  shop.upstream.next(answers.failure());
  expect((await buyer.fetch(`${shop.url}/agent`, init)).status).toBe(502);
  shop.facilitator.fail("verify", faults.garbage200);
  expect((await buyer.fetch(`${shop.url}/agent`, init)).status).toBe(503);
  const keyed = await fetch(`${shop.url}/agent`, { ...init, headers: { authorization: `Bearer ${bearer}` } });
  expect(keyed.status).toBe(401);
  await shop.line({ code: "invalid_api_key" });
  const text = JSON.stringify(shop.lines);
  expect(text).toContain(buyer.address);
  const [header = ""] = Object.values(payment);
  const { token = "" } = payloadOf(payment).accepted.extra;
  const { transaction } = payloadOf(payment).payload;
  const secrets = [header, token, transaction, bearer, UPSTREAM_KEY, "sk-live-0123456789"];
  secrets.push("nobody logs", shop.env["FAREBOX_MEMO_SECRET"] ?? "");
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThan(8);
    expect(text).not.toContain(secret);
  }
});

test.each([
  ["does not answer", answers.reset, undefined],
  ["refuses the operator's key", answers.failure(401), 401],
  ["answers with something else", answers.raw(200, { "Content-Type": "text/html" }, "x"), 200],
])(
  "an upstream that %s is named in the log, since the caller is not told why",
  async (_, behaviour, status) => {
    const buyer = await createBuyer(shop);
    shop.upstream.next(behaviour);
    const from = shop.lines.length;
    expect((await buyer.fetch(`${shop.url}/agent`, ask)).status).toBe(502);
    await expect
      .poll(() => shop.lines.slice(from).filter(({ level }) => level === "warn" || level === "error"))
      .toEqual([
        expect.objectContaining({
          msg: "upstream failed",
          err: expect.any(Object),
          upstream: "default",
          ...(status === undefined ? {} : { upstreamStatus: status }),
        }),
      ]);
  },
);

test("an upstream that is gone makes the gateway not ready", async () => {
  await shop.upstream.close();
  await expect
    .poll(async () => (await fetch(`${shop.url}/readyz`)).json(), { interval: 100, timeout: 8_000 })
    .toMatchObject({ status: "not_ready", checks: { "upstream:default": { ok: false } } });
  expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
});
