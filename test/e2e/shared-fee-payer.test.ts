import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createBuyer, post } from "../support/buyer.ts";
import { type FaultyFacilitator, faults, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { createManualClock, type ManualClock } from "../support/manual-clock.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

/** Two doors to one official facilitator: either could settle any payment. */

const PRICE = 20_000n;
const EVERY_MS = 1_500;

let shop: Shop;
let other: FaultyFacilitator;
let clock: ManualClock;

beforeAll(async () => {
  clock = createManualClock();
  shop = await openShop({
    clock,
    rivals: async ({ facilitatorUrl }) => {
      other = await startFaultyFacilitator(facilitatorUrl);
      return [other];
    },
  });
});
beforeEach(allAnswered);
afterEach(async () => {
  await shop.facilitator.up();
  await ask();
  await ask();
});
afterAll(async () => {
  await shop.close();
  await other.close();
});

const agent = () => `${shop.url}/agent`;

async function allAnswered(): Promise<void> {
  await expect.poll(() => clock.waiting().length, { interval: 5, timeout: 8_000 }).toBe(2);
}

/** Both are asked whether they live. */
async function ask(): Promise<void> {
  clock.advance(EVERY_MS);
  await allAnswered();
}

async function die(): Promise<void> {
  await shop.facilitator.down();
  await ask();
}

test("one is dead: a payment signed before goes to the other at once", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "One" });
  const payment = await buyer.sign(agent(), init);
  await die();
  const before = tally(shop);
  expect((await buyer.send(agent(), init, payment)).status).toBe(200);
  expect(since(shop, before)).toEqual({ ...soldOnce(PRICE), settled: 0 });
  expect(other.calls.settle).toBe(1);
});

test("one refused to settle and died: the payment waits for it and is not sent to the other", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "Two" });
  const payment = await buyer.sign(agent(), init);
  const before = tally(shop);
  shop.facilitator.fail("settle", faults.reason("insufficient_funds"));
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([402, "payment_refused"]);
  await die();
  const calls = { verify: other.calls.verify, settle: other.calls.settle };
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "facilitator_unavailable"]);
  expect(other.calls).toMatchObject(calls);
  await shop.facilitator.up();
  await ask();
  expect((await buyer.send(agent(), init, payment)).status).toBe(200);
  expect(since(shop, before)).toMatchObject({ balance: PRICE, transfers: 1, settled: 2 });
  expect(other.calls).toMatchObject(calls);
});

test("a settle without an answer at one is not repeated at the other, alive as it is", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "Three" });
  const payment = await buyer.sign(agent(), init);
  const before = tally(shop);
  const settles = other.calls.settle;
  const late = shop.facilitator.lateLanding("settle", faults.reset);
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "settlement_unknown"]);
  await die();
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "settlement_unknown"]);
  await late.release();
  await expect
    .poll(async () => (await buyer.send(agent(), init, payment)).status, { interval: 20, timeout: 8_000 })
    .toBe(200);
  expect(since(shop, before)).toMatchObject({ balance: PRICE, transfers: 1, settled: 1 });
  expect(other.calls.settle).toBe(settles);
});
