import { afterAll, beforeAll, expect, test } from "vitest";
import { createBuyer, post, termsOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { nothingPaid, provenOnChain, reaches, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

const OLD = 'prices: { agent: "$0.02" }';
const NEW = 'prices: { agent: "$0.03" }';
const OLD_PRICE = 20_000n;

let shop: Shop;
let url: string;
beforeAll(async () => {
  shop = await openShop({ yaml: OLD });
  url = `${shop.url}/agent`;
});
afterAll(() => shop.close());

test("a delivered payment gets its answer again after the price has changed", async () => {
  await shop.restart(OLD);
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "delivered" });
  const payment = await buyer.sign(url, init);
  const before = tally(shop);
  const text = await (await buyer.send(url, init, payment)).text();
  await reaches(shop, payment, "delivered");
  await shop.restart(NEW);
  const again = await buyer.send(url, init, payment);
  expect(again.status).toBe(200);
  expect(await again.text()).toBe(text);
  expect(since(shop, before)).toEqual(soldOnce(OLD_PRICE));
});

test("a payment that settled while nobody knew is served after the price has changed, and not settled again", async () => {
  await shop.restart(OLD);
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "settled" });
  const payment = await buyer.sign(url, init);
  const before = tally(shop);
  shop.facilitator.fail("settle", faults.dropAfter);
  expect((await buyer.send(url, init, payment)).status).toBe(503);
  await shop.restart(NEW);
  const served = await buyer.send(url, init, payment);
  expect(served.status).toBe(200);
  expect(await served.json()).toMatchObject({ billing: { amount: "0.02" } });
  await provenOnChain(shop, served);
  expect(since(shop, before)).toEqual({ ...soldOnce(OLD_PRICE), upstreamCalls: 2 });
});

test("a new payment on the old terms is 402 payment_mismatch with the new terms, and nothing is claimed", async () => {
  await shop.restart(OLD);
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "new" });
  const payment = await buyer.sign(url, init);
  const before = tally(shop);
  await shop.restart(NEW);
  const refused = await buyer.send(url, init, payment);
  expect(refused.status).toBe(402);
  expect(termsOf(refused)).toMatchObject({ error: "payment_mismatch", accepts: [{ amount: "30000" }] });
  expect(await refusalOf(refused)).toEqual([402, "payment_mismatch"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
  expect((await buyer.fetch(url, init)).status).toBe(200);
  expect(since(shop, before)).toEqual(soldOnce(30_000n));
});
