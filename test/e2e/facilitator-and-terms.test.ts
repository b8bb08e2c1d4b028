import { generateKeyPairSigner } from "@solana/kit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, post, termsOf } from "../support/buyer.ts";
import { type FaultyFacilitator, faults, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type StubFacilitator, startStubFacilitator } from "../support/stub-facilitator.ts";
import { nothingPaid, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

const PRICE = 20_000n;
const ask = post({ prompt: "Hi" });

describe("the facilitator is down when the gateway starts", () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await openShop({ facilitatorDown: true });
  });
  afterAll(() => shop.close());

  test("the process is up, nothing can be bought yet, and it recovers by itself", async () => {
    expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
    const notReady = await fetch(`${shop.url}/readyz`);
    expect(notReady.status).toBe(503);
    expect(await notReady.json()).toMatchObject({
      status: "not_ready",
      checks: { facilitator: { ok: false }, ledger: { ok: true }, "upstream:default": { ok: true } },
    });

    const unpaid = await fetch(`${shop.url}/agent`, ask);
    expect(unpaid.headers.get("retry-after")).toBe("2");
    expect(await refusalOf(unpaid)).toEqual([503, "terms_unavailable"]);
    const document = await fetch(`${shop.url}/.well-known/x402`);
    const { items } = (await document.json()) as { items: Record<string, unknown>[] };
    expect(items.length).toBeGreaterThan(0);
    for (const item of items) expect(item).not.toHaveProperty("accepts");
    const etag = document.headers.get("etag");

    const asked = shop.facilitator.nextCall("supported");
    await shop.facilitator.up();
    await asked;
    await expect.poll(() => shop.gateway.payments.terms.current()).toBeDefined();
    const after = await fetch(`${shop.url}/.well-known/x402`);
    expect(after.headers.get("etag")).not.toBe(etag);
    expect(await after.json()).toMatchObject({
      items: items.map(() => ({ accepts: [{ extra: { feePayer: shop.localnet.feePayer } }] })),
    });
    expect((await fetch(`${shop.url}/readyz`)).status).toBe(200);
    const buyer = await createBuyer(shop);
    const before = tally(shop);
    expect((await buyer.fetch(`${shop.url}/agent`, ask)).status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("down again, it still quotes; a payment is 503 and nothing was spent; later the same one is served", async () => {
    const buyer = await createBuyer(shop);
    const payment = await buyer.sign(`${shop.url}/agent`, ask);
    const before = tally(shop);
    await shop.facilitator.down();
    expect((await fetch(`${shop.url}/agent`, ask)).status).toBe(402);
    const refused = await buyer.send(`${shop.url}/agent`, ask, payment);
    expect(refused.headers.get("retry-after")).toBe("2");
    expect(await refusalOf(refused)).toEqual([503, "facilitator_unavailable"]);
    expect(since(shop, before)).toEqual(nothingPaid(0));
    await shop.facilitator.up();
    expect((await buyer.send(`${shop.url}/agent`, ask, payment)).status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });
});

describe("the facilitator changes its fee payer", () => {
  let shop: Shop;
  let stub: StubFacilitator;
  let facilitator: FaultyFacilitator;
  beforeAll(async () => {
    const { address: feePayer } = await generateKeyPairSigner();
    stub = await startStubFacilitator({ feePayer });
    facilitator = await startFaultyFacilitator(stub.url);
    shop = await openShop({ env: { FACILITATOR_URL: facilitator.url } });
  });
  afterAll(async () => {
    await shop.close();
    await facilitator.close();
    await stub.close();
  });

  test("a payment refused for the old one makes the gateway ask again; new challenges name the new one", async () => {
    const buyer = await createBuyer(shop);
    const { address: feePayer } = await generateKeyPairSigner();
    const offered = async () => termsOf(await fetch(`${shop.url}/agent`, ask)).accepts[0]?.["extra"];
    expect(await offered()).not.toMatchObject({ feePayer });
    stub.setFeePayer(feePayer);
    let heard = false;
    const asked = facilitator.nextCall("supported").then(() => {
      heard = true;
    });
    // It asks at most every few seconds, so the first of these refusals may come too early.
    while (!heard) {
      facilitator.fail("verify", faults.reason("invalid_exact_svm_fee_payer_not_managed_by_facilitator"));
      const refused = await buyer.fetch(`${shop.url}/agent`, ask);
      expect(await refusalOf(refused)).toEqual([402, "payment_invalid"]);
    }
    await asked;
    await expect.poll(offered).toMatchObject({ feePayer });
    expect((await buyer.fetch(`${shop.url}/agent`, ask)).status).toBe(200);
    expect(stub.calls.settle).toBe(1);
  });
});

test("a facilitator names another of its fee payers after a restart: a payment for the first is good", async () => {
  const shop = await openShop();
  const buyer = await createBuyer(shop);
  const payment = await buyer.sign(`${shop.url}/agent`, ask);
  const { address: other } = await generateKeyPairSigner();
  const { caip2 } = shop.config;
  shop.facilitator.fail(
    "supported",
    faults.status(200, {
      kinds: [{ x402Version: 2, scheme: "exact", network: caip2, extra: { feePayer: other } }],
      signers: { "solana:*": [other, shop.localnet.feePayer], "eip155:*": ["0x1"] },
    }),
  );
  await shop.restart();
  const [offer] = termsOf(await fetch(`${shop.url}/agent`, ask)).accepts;
  expect(offer?.["extra"]).toMatchObject({ feePayer: other });
  const before = tally(shop);
  expect((await buyer.send(`${shop.url}/agent`, ask, payment)).status).toBe(200);
  expect(since(shop, before)).toEqual(soldOnce(PRICE));
  await shop.close();
});

test("payTo without a token account: the log says so at start, and how to create it", async () => {
  const { address: payTo } = await generateKeyPairSigner();
  const shop = await openShop({ env: { PAY_TO: payTo } });
  try {
    const line = await shop.line({ level: "error", payTo, mint: shop.localnet.asset });
    expect(line["msg"]).toContain(`spl-token create-account ${shop.localnet.asset} --owner ${payTo}`);
    expect(line["tokenAccount"]).toBe(await shop.localnet.createTokenAccount(payTo));
  } finally {
    await shop.close();
  }
});
