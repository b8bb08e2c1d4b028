import { randomUUID } from "node:crypto";
import { appendPaymentIdentifierToExtensions } from "@x402/extensions/payment-identifier";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, paymentId, post, proofOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { nothingPaid, provenOnChain, reaches, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

const PRICE = 20_000n;
/** More than a blockhash lives, with the margin the gateway keeps for a lagging node and the depth of finality. */
const BEYOND_EXPIRY = 400;

let shop: Shop;
let url: string;
beforeAll(async () => {
  shop = await openShop();
  url = `${shop.url}/agent`;
});
afterAll(() => shop.close());

/** Undecided, or being decided at this moment. */
async function expectToWait(response: Response): Promise<void> {
  expect(["settlement_unknown", "payment_in_progress"]).toContain((await refusalOf(response))[1]);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
}

describe("a settlement of unknown outcome, then a newly signed payment for the same request", () => {
  test("landed: the first payment serves the second, which is never settled", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "landed" });
    const first = await buyer.sign(url, init);
    const second = await buyer.sign(url, init);
    const before = tally(shop);
    shop.facilitator.fail("settle", faults.dropAfter);
    const lost = await buyer.send(url, init, first);
    expect(lost.headers.get("retry-after")).toBe("2");
    expect(await refusalOf(lost)).toEqual([503, "settlement_unknown"]);
    await reaches(shop, first, "settled");

    const served = await buyer.send(url, init, second);
    expect(served.status).toBe(200);
    expect(await served.json()).toMatchObject({ success: true, billing: { payer: buyer.address } });
    const transaction = await provenOnChain(shop, served);
    expect(shop.localnet.transfersTo(shop.localnet.merchant).at(-1)).toMatchObject({
      signature: transaction,
      messageHash: paymentId(first),
    });
    expect(since(shop, before)).toEqual({ balance: PRICE, transfers: 1, settled: 1, upstreamCalls: 2 });
    expect(await shop.gateway.ledger.payment(paymentId(second))).toBeUndefined();
    await reaches(shop, first, "delivered");
  });

  test("landed, and the same payment again: served, for one transfer", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "landed, same payment" });
    const payment = await buyer.sign(url, init);
    const before = tally(shop);
    shop.facilitator.fail("settle", faults.dropAfter);
    expect((await buyer.send(url, init, payment)).status).toBe(503);
    const served = await buyer.send(url, init, payment);
    expect(served.status).toBe(200);
    await provenOnChain(shop, served);
    expect(since(shop, before)).toEqual({ balance: PRICE, transfers: 1, settled: 1, upstreamCalls: 2 });
  });

  test("answered as unknown, landing while the second waits: found on the chain, paid once", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "late landing" });
    const first = await buyer.sign(url, init);
    const second = await buyer.sign(url, init);
    const before = tally(shop);
    const late = shop.facilitator.lateLanding("settle", faults.reset);
    expect((await buyer.send(url, init, first)).status).toBe(503);
    await expectToWait(await buyer.send(url, init, second));
    expect(JSON.parse((await late.release()).body)).toMatchObject({ success: true });
    const served = await buyer.send(url, init, second);
    expect(served.status).toBe(200);
    await provenOnChain(shop, served);
    expect(since(shop, before)).toEqual({ balance: PRICE, transfers: 1, settled: 1, upstreamCalls: 2 });
  });

  test("another request of the same payer is not held up by it", async () => {
    const buyer = await createBuyer(shop);
    const first = await buyer.sign(url, post({ prompt: "one" }));
    shop.facilitator.fail("settle", faults.reset);
    expect((await buyer.send(url, post({ prompt: "one" }), first)).status).toBe(503);
    const before = tally(shop);
    const other = await buyer.fetch(url, post({ prompt: "two" }));
    expect(other.status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("never landed: while it may still land nobody is served; after that the second pays, once", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "never landed" });
    const first = await buyer.sign(url, init);
    const early = await buyer.sign(url, init);
    const before = tally(shop);
    shop.facilitator.fail("settle", faults.reset);
    expect(await refusalOf(await buyer.send(url, init, first))).toEqual([503, "settlement_unknown"]);
    await expectToWait(await buyer.send(url, init, early));
    expect(since(shop, before)).toEqual({ ...nothingPaid(1), settled: 1 });

    // Last in this file's order: a chain that leaps leaves the gateway's idea of its height behind for some seconds.
    shop.localnet.warp(BEYOND_EXPIRY);
    const second = await buyer.sign(url, init);
    const served = await buyer.send(url, init, second);
    expect(served.status).toBe(200);
    await provenOnChain(shop, served);
    expect(since(shop, before)).toEqual({ balance: PRICE, transfers: 1, settled: 2, upstreamCalls: 2 });
    expect(shop.localnet.transfersTo(shop.localnet.merchant).at(-1)?.messageHash).toBe(paymentId(second));
    await reaches(shop, first, "released");
    const dead = await buyer.send(url, init, first);
    expect(await refusalOf(dead)).toEqual([402, "payment_invalid"]);
    expect(since(shop, before).balance).toBe(PRICE);
  });
});

describe("payment-identifier", () => {
  function withIdentifier(id: string): (declared: Record<string, unknown>) => void {
    return (declared) => void appendPaymentIdentifierToExtensions(declared, id);
  }

  test("same id and same request under a new payment: the stored answer, no second transfer", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "identified" });
    const id = `order_${randomUUID()}`;
    const first = await buyer.sign(url, init, withIdentifier(id));
    const second = await buyer.sign(url, init, withIdentifier(id));
    const before = tally(shop);
    const served = await buyer.send(url, init, first);
    const text = await served.text();
    expect(served.status).toBe(200);
    await reaches(shop, first, "delivered");
    const again = await buyer.send(url, init, second);
    expect(again.status).toBe(200);
    expect(await again.text()).toBe(text);
    expect(proofOf(again)).toEqual(proofOf(served));
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("same id and another request: 409", async () => {
    const buyer = await createBuyer(shop);
    const id = `order_${randomUUID()}`;
    const first = await buyer.sign(url, post({ prompt: "one" }), withIdentifier(id));
    const second = await buyer.sign(url, post({ prompt: "two" }), withIdentifier(id));
    expect((await buyer.send(url, post({ prompt: "one" }), first)).status).toBe(200);
    await reaches(shop, first, "delivered");
    const before = tally(shop);
    const refused = await buyer.send(url, post({ prompt: "two" }), second);
    expect(await refusalOf(refused)).toEqual([409, "payment_identifier_conflict"]);
    expect(since(shop, before)).toEqual(nothingPaid(0));
  });

  test("an id is its payer's own: another payer with the same one pays and is served", async () => {
    const id = `order_${randomUUID()}`;
    const init = post({ prompt: "mine" });
    for (const buyer of [await createBuyer(shop), await createBuyer(shop)]) {
      const before = tally(shop);
      const payment = await buyer.sign(url, init, withIdentifier(id));
      expect((await buyer.send(url, init, payment)).status).toBe(200);
      await reaches(shop, payment, "delivered");
      expect(since(shop, before)).toEqual(soldOnce(PRICE));
    }
  });

  test("the facilitator hears neither the id nor the token", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "secret id" });
    const id = `order_${randomUUID()}`;
    const payment = await buyer.sign(url, init, withIdentifier(id));
    const from = shop.facilitator.log.length;
    expect((await buyer.send(url, init, payment)).status).toBe(200);
    const heard = JSON.stringify(shop.facilitator.log.slice(from).map(({ body }) => body));
    expect(heard).toContain(shop.localnet.merchant);
    expect(heard).not.toContain(id);
    expect(heard).not.toContain('"token"');
  });

  test("required and missing: 400, before anything is claimed", async () => {
    await shop.restart("payment: { paymentIdentifier: required }");
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "no id" });
    const before = tally(shop);
    const refused = await buyer.fetch(url, init);
    expect(await refusalOf(refused)).toEqual([400, "payment_identifier_required"]);
    expect(since(shop, before)).toEqual(nothingPaid(0));
    const payment = await buyer.sign(url, init, withIdentifier(`order_${randomUUID()}`));
    expect((await buyer.send(url, init, payment)).status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
    await shop.restart("");
  });
});
