import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, paymentId, post } from "../support/buyer.ts";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { nothingPaid, reaches, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

const PRICE = 50_000n;
const CAP = 8;

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({
    yaml: 'routes: { "POST /render": { upstream: default, price: "$0.05", settle: upfront } }',
  });
});
afterAll(() => shop.close());

describe("a route with settle: upfront", () => {
  const init = post({ scene: "forest" });

  test("is settled before the upstream is asked", async () => {
    const buyer = await createBuyer(shop);
    const before = tally(shop);
    const held = shop.facilitator.hold("settle");
    const asked = buyer.fetch(`${shop.url}/render`, init);
    await held.arrived;
    expect(since(shop, before)).toEqual({ ...nothingPaid(0), settled: 1 });
    const called = shop.upstream.nextCall();
    held.release();
    await called;
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
    expect((await asked).status).toBe(200);
  });

  test.each([
    ["fails", answers.failure(), 502, "upstream_failed"],
    ["breaks off", answers.halfJson, 502, "upstream_failed"],
    ["is gone", answers.reset, 502, "upstream_unreachable"],
  ] as const)("when the upstream %s, the payer is owed once, and its retry is told so", async (...row) => {
    const [, behaviour, status, code] = row;
    const buyer = await createBuyer(shop);
    const payment = await buyer.sign(`${shop.url}/render`, init);
    const before = tally(shop);
    shop.upstream.next(behaviour);
    const failed = await buyer.send(`${shop.url}/render`, init, payment);
    expect(await refusalOf(failed)).toEqual([status, code]);
    const transaction = shop.localnet.transfersTo(shop.localnet.merchant).at(-1)?.signature;
    await reaches(shop, payment, "credited");
    for (let retry = 0; retry < 3; retry += 1) {
      const told = await buyer.send(`${shop.url}/render`, init, payment);
      expect(told.status).toBe(409);
      expect(await told.json()).toMatchObject({
        error: { code: "payment_credited", details: { account: `wallet:${buyer.address}`, transaction } },
      });
    }
    await shop.gateway.payments.reconciler.sweep();
    const { ledger } = shop.gateway;
    expect(await ledger.balance(`wallet:${buyer.address}`)).toBe(PRICE);
    expect(await ledger.journal(`wallet:${buyer.address}`)).toEqual([
      {
        account: `wallet:${buyer.address}`,
        reference: `payment:${paymentId(payment)}`,
        kind: "owed_credit",
        amount: PRICE,
        balance: PRICE,
        at: expect.any(Number),
      },
    ]);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });
});

test(`the ${CAP + 1}th unsettled call of one payer is 429 with Retry-After; another payer is served`, async () => {
  const buyer = await createBuyer(shop);
  const other = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const held = Array.from({ length: CAP }, () => shop.upstream.hold());
  const running = held.map((_, index) => buyer.fetch(url, post({ prompt: `call ${index}` })));
  await Promise.all(held.map(({ arrived }) => arrived));
  const before = tally(shop);
  const refused = await buyer.fetch(url, post({ prompt: "one too many" }));
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await refusalOf(refused)).toEqual([429, "too_many_payments"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
  expect((await other.fetch(url, post({ prompt: "one too many" }))).status).toBe(200);
  for (const call of held) call.release();
  expect((await Promise.all(running)).map(({ status }) => status)).toEqual(Array(CAP).fill(200));
  expect((await buyer.fetch(url, post({ prompt: "one too many" }))).status).toBe(200);
});

test("a payer that abandons a call settles its next one before the upstream is asked; others do not", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const init = post({ prompt: "abandoned" });
  const payment = await buyer.sign(url, init);
  const before = tally(shop);
  const leaving = new AbortController();
  const held = shop.upstream.hold();
  const abandoned = buyer.send(url, { ...init, signal: leaving.signal }, payment);
  const { aborted } = await held.arrived;
  leaving.abort();
  await expect(abandoned).rejects.toThrow("abort");
  await aborted;
  await reaches(shop, payment, "released");
  expect(since(shop, before)).toEqual(nothingPaid(1));

  const settling = shop.facilitator.hold("settle");
  const next = buyer.fetch(url, post({ prompt: "next" }));
  await settling.arrived;
  expect(since(shop, before).upstreamCalls).toBe(1);
  settling.release();
  expect((await next).status).toBe(200);

  const other = await createBuyer(shop);
  const settlingOther = shop.facilitator.hold("settle");
  const calls = shop.upstream.calls.length;
  const served = other.fetch(url, post({ prompt: "next" }));
  await settlingOther.arrived;
  expect(shop.upstream.calls.length).toBe(calls + 1);
  settlingOther.release();
  expect((await served).status).toBe(200);
});

test("a call that failed through no fault of its payer does not make it pay upfront", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const payment = await buyer.sign(url, post({ prompt: "fails" }));
  shop.upstream.next(answers.failure());
  expect((await buyer.send(url, post({ prompt: "fails" }), payment)).status).toBe(502);
  await reaches(shop, payment, "released");
  const before = tally(shop);
  const settling = shop.facilitator.hold("settle");
  const next = buyer.fetch(url, post({ prompt: "next" }));
  await settling.arrived;
  expect(since(shop, before).upstreamCalls).toBe(1);
  settling.release();
  expect((await next).status).toBe(200);
});
