import { decodeSignedOffers, verifyReceiptMatchesOffer } from "@x402/extensions/offer-receipt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chat, type KeyedShop } from "../keyed/keyed-shop.ts";
import { type Buyer, createBuyer, payloadOf, paymentId, post, proofOf, termsOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { answers } from "../support/model-upstream.ts";
import { openReceiptShop, receiptOf, verified } from "./receipt-stand.ts";

let shop: KeyedShop;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openReceiptShop();
  buyer = await createBuyer(shop);
});
afterAll(() => shop.close());

const PROMPT = post({ prompt: "Hi" });

describe("a paid answer carries a receipt that the package and jose verify by what is published", () => {
  test("of a call: the fields of the extension and no others", async () => {
    const payment = await buyer.sign(`${shop.url}/agent`, PROMPT);
    const response = await buyer.send(`${shop.url}/agent`, PROMPT, payment);
    expect(response.status).toBe(200);
    const receipt = receiptOf(response) ?? "";
    const record = await shop.gateway.ledger.payment(paymentId(payment));
    expect(await verified(shop, receipt)).toEqual({
      version: 1,
      network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
      resourceUrl: `${shop.url}/agent`,
      payer: buyer.address,
      issuedAt: Math.floor((record?.createdAt ?? 0) / 1_000),
    });
    expect(proofOf(response)).toMatchObject({ success: true, transaction: record?.transaction });
  });

  test("of a path with a parameter, as its 402 named it, and matches the offer", async () => {
    const url = `${shop.url}/report/seven%207?lang=en`;
    const { resource, accepts } = termsOf(await fetch(url)) as unknown as {
      resource: { url: string };
      accepts: [Record<string, string>];
    };
    const response = await buyer.fetch(url);
    const receipt = receiptOf(response) ?? "";
    expect(await verified(shop, receipt)).toMatchObject({ resourceUrl: `${shop.url}/report/seven%207` });
    const payload = Buffer.from(JSON.stringify({ resourceUrl: resource.url, ...accepts[0] }));
    const [offer] = decodeSignedOffers([
      { format: "jws", signature: `e30.${payload.toString("base64url")}.sig` },
    ]);
    if (offer === undefined) throw new Error("no offer");
    const signed = { format: "jws", signature: receipt } as const;
    expect(verifyReceiptMatchesOffer(signed, offer, [buyer.address])).toBe(true);
  });

  test("of the longest path, in headers that proxies take", async () => {
    const response = await buyer.fetch(`${shop.url}/report/${"x".repeat(245)}`);
    await verified(shop, receiptOf(response) ?? "");
    const size = [...response.headers].reduce(
      (sum, [name, value]) => sum + name.length + value.length + 4,
      0,
    );
    expect(size).toBeLessThan(4_096);
  });

  test("of a stream, before its first event", async () => {
    const stream = shop.upstream.stream();
    const asked = buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi", stream: true }));
    await stream.delta("one");
    const response = await asked;
    expect(response.headers.get("content-type")).toMatch(/event-stream/);
    expect(await verified(shop, receiptOf(response) ?? "")).toMatchObject({ payer: buyer.address });
    await stream.finish();
    await response.text();
  });

  test.each([
    ["/topup", { amount: "0.05" }],
    ["/keys", { amount: "0.05", label: "agent" }],
  ])("of credit bought at %s", async (path, body) => {
    const response = await buyer.fetch(shop.url + path, post(body));
    expect(response.status).toBe(200);
    expect(await verified(shop, receiptOf(response) ?? "")).toMatchObject({
      resourceUrl: shop.url + path,
      payer: buyer.address,
    });
  });
});

describe("the same payment again has the same receipt, byte for byte", () => {
  test("with the stored answer, also after a restart", async () => {
    const payment = await buyer.sign(`${shop.url}/agent`, PROMPT);
    const first = await buyer.send(`${shop.url}/agent`, PROMPT, payment);
    const text = await first.text();
    const again = await buyer.send(`${shop.url}/agent`, PROMPT, payment);
    expect(await again.text()).toBe(text);
    await shop.gateway.close();
    await shop.restart();
    const later = await buyer.send(`${shop.url}/agent`, PROMPT, payment);
    expect(await later.text()).toBe(text);
    const header = first.headers.get("payment-response");
    expect(again.headers.get("payment-response")).toBe(header);
    expect(later.headers.get("payment-response")).toBe(header);
    expect(receiptOf(first)).toBeDefined();
  });

  test("where its client left while it settled, and the stream broke: served later, on the same settlement", async () => {
    const asked = post({ prompt: "Hi", stream: true });
    const payment = await buyer.sign(`${shop.url}/agent`, asked);
    const id = paymentId(payment);
    const stream = shop.upstream.stream();
    const settle = shop.facilitator.hold("settle");
    const leaving = new AbortController();
    const left = buyer.send(`${shop.url}/agent`, { ...asked, signal: leaving.signal }, payment);
    const gone = left.catch(() => undefined);
    await stream.delta("One ");
    await settle.arrived;
    leaving.abort();
    await gone;
    settle.release();
    await expect.poll(() => shop.gateway.ledger.payment(id)).toMatchObject({ state: "settled" });
    await stream.breakOff();
    await expect.poll(() => shop.gateway.ledger.payment(id)).toMatchObject({ leased: false });
    const settles = shop.facilitator.calls.settle;
    const served = await buyer.send(`${shop.url}/agent`, asked, payment);
    await served.text();
    const again = await buyer.send(`${shop.url}/agent`, asked, payment);
    await again.text();
    expect([served.status, again.status, shop.facilitator.calls.settle]).toEqual([200, 200, settles]);
    expect(receiptOf(again)).toBe(receiptOf(served));
    const { issuedAt } = await verified(shop, receiptOf(served) ?? "");
    const record = await shop.gateway.ledger.payment(id);
    expect(issuedAt).toBe(Math.floor((record?.createdAt ?? 0) / 1_000));
  });

  test("shown again under another network: the one that it was settled on", async () => {
    const payment = await buyer.sign(`${shop.url}/agent`, PROMPT);
    shop.facilitator.fail("settle", faults.dropAfter);
    expect((await buyer.send(`${shop.url}/agent`, PROMPT, payment)).status).toBe(503);
    const found = { state: "settled", leased: false };
    await expect.poll(() => shop.gateway.ledger.payment(paymentId(payment))).toMatchObject(found);
    const { accepted, ...rest } = payloadOf(payment);
    const devnet = { ...accepted, network: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" };
    const altered = Buffer.from(JSON.stringify({ ...rest, accepted: devnet })).toString("base64");
    const served = await buyer.send(`${shop.url}/agent`, PROMPT, { "PAYMENT-SIGNATURE": altered });
    expect(served.status).toBe(200);
    const { caip2: network } = shop.config;
    expect(proofOf(served)).toMatchObject({ network });
    expect(await verified(shop, receiptOf(served) ?? "")).toMatchObject({ network });
  });

  test("of credit, however its path is written", async () => {
    const body = post({ amount: "0.05" });
    const payment = await buyer.sign(`${shop.url}/topup/`, body);
    const first = await buyer.send(`${shop.url}/topup/`, body, payment);
    const again = await buyer.send(`${shop.url}/topup/`, body, payment);
    expect(receiptOf(first)).toBe(receiptOf(again));
    expect(await verified(shop, receiptOf(first) ?? "")).toMatchObject({ resourceUrl: `${shop.url}/topup` });
  });
});

describe("there is none", () => {
  test("for a payment of version 1, whose header stays what it was", async () => {
    const response = await buyer.fetchV1(`${shop.url}/agent`, PROMPT);
    expect(response.status).toBe(200);
    expect(receiptOf(response)).toBeUndefined();
    expect(response.headers.get("x-payment-response")).toBe(response.headers.get("payment-response"));
  });

  test("in the header of version 1", async () => {
    const response = await buyer.fetch(`${shop.url}/agent`, PROMPT);
    const v1 = JSON.parse(atob(response.headers.get("x-payment-response") ?? ""));
    expect(v1).not.toHaveProperty("extensions");
    expect(v1).toMatchObject({ success: true, payer: buyer.address });
    expect(receiptOf(response)).toBeDefined();
  });

  test("for a call by key", async () => {
    const customer = await shop.customer(1_000_000n);
    const response = await fetch(`${shop.url}/v1/chat/completions`, {
      ...{ method: "POST", headers: customer.headers, body: chat("Hi", { model: "flat-test" }) },
    });
    expect(response.status).toBe(200);
    expect(response.headers.has("payment-response")).toBe(false);
  });

  test("for a call that failed and cost nothing", async () => {
    shop.upstream.next(answers.failure(), 3);
    const response = await buyer.fetch(`${shop.url}/agent`, PROMPT);
    expect(response.status).toBeGreaterThanOrEqual(500);
    expect(response.headers.has("payment-response")).toBe(false);
  });

  test("in a 402, whose terms are as without receipts", async () => {
    const { extensions } = termsOf(await fetch(`${shop.url}/agent`, PROMPT));
    expect(extensions).not.toHaveProperty("offer-receipt");
  });
});
