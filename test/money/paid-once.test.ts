import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { refusalOf, since, tally } from "../e2e/shop-facts.ts";
import { createBuyer, paymentId, post } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { becomes, credit, recordOf, settleElsewhere, startCall, watchOrphans } from "./call.ts";

const PRICE = 20_000n;
/** More than a blockhash lives, with the margin the gateway keeps for a lagging node and the depth of finality. */
const BEYOND_EXPIRY = 400;

let shop: Shop;
let agent: string;
beforeAll(async () => {
  shop = await openShop({
    yaml: `
payment: { storeResponseMax: 1KiB }
routes: { "POST /dear": { upstream: default, price: "$0.05", settle: upfront } }
`,
  });
  agent = `${shop.url}/agent`;
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => shop.close());

/** Undecided, or being decided at this moment. */
async function expectToWait(response: Response): Promise<void> {
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  expect([409, 503]).toContain(response.status);
  await response.text();
}

/** Two payments of one buyer for one request; the first is sent, and is being settled. */
async function settling(prompt: string) {
  const buyer = await createBuyer(shop);
  const init = post({ prompt });
  const [first, second] = [await buyer.sign(agent, init), await buyer.sign(agent, init)];
  const before = tally(shop);
  const orphans = watchOrphans(shop);
  const settle = shop.facilitator.hold("settle");
  const call = startCall(agent, init, first);
  await settle.arrived;
  return { buyer, init, first, second, before, orphans, settle, call };
}

describe("the client leaves while its payment settles, and signs a new one", () => {
  test("sent during the settlement: it waits, then the first payment serves it", async () => {
    const { buyer, init, first, second, before, orphans, settle, call } = await settling("held");
    call.leave();
    await orphans.seen(1);
    await expectToWait(await buyer.send(agent, init, second));
    settle.release();
    await becomes(shop, first, { state: "settled", leased: false });
    expect((await buyer.send(agent, init, second)).status).toBe(200);
    await becomes(shop, first, { state: "delivered" });
    // Whichever of the two comes back, it is given the stored answer.
    for (const payment of [second, first, second]) {
      const again = await buyer.send(agent, init, payment);
      expect(again.status).toBe(payment === second ? 200 : 409);
      await again.text();
    }
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1, balance: PRICE });
  });

  test("and leaves again while the first serves the second: the second comes back and is served by the first", async () => {
    const { buyer, init, first, second, before, orphans, settle, call } = await settling("left twice");
    call.leave();
    await orphans.seen(1);
    settle.release();
    await becomes(shop, first, { state: "settled", leased: false });
    const held = shop.upstream.hold();
    const retry = startCall(agent, init, second);
    await held.arrived;
    retry.leave();
    await orphans.seen(2);
    held.release();
    await becomes(shop, first, { state: "settled", leased: false });
    expect((await buyer.send(agent, init, second)).status).toBe(200);
    await becomes(shop, first, { state: "delivered" });
    expect((await buyer.send(agent, init, second)).status).toBe(200);
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1, balance: PRICE });
  });

  test("claimed before the client left: its settlement gives way, and its retry is served by the first", async () => {
    const { buyer, init, first, second, before, orphans, settle, call } = await settling("claimed early");
    const held = shop.upstream.hold();
    const beside = startCall(agent, init, second);
    await held.arrived;
    call.leave();
    await orphans.seen(1);
    held.release();
    expect(await refusalOf(await beside.answer)).toEqual([503, "settlement_unknown"]);
    settle.release();
    await becomes(shop, first, { state: "settled", leased: false });
    expect((await buyer.send(agent, init, second)).status).toBe(200);
    await becomes(shop, first, { state: "delivered" });
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1, balance: PRICE });
  });
});

test.each([
  ["a call that is paid upfront", "/dear", { prompt: "dear" }, "settled"],
  ["credit", "/topup", { amount: "$1.00" }, "credited"],
] as const)(
  "%s: a client that leaves while it settles, and signs anew, does not pay twice",
  async (_, path, asked, state) => {
    const url = shop.url + path;
    const init = post(asked);
    const buyer = await createBuyer(shop);
    const [first, second] = [await buyer.sign(url, init), await buyer.sign(url, init)];
    const before = tally(shop);
    const orphans = watchOrphans(shop);
    const settle = shop.facilitator.hold("settle");
    const call = startCall(url, init, first);
    await settle.arrived;
    call.leave();
    await orphans.seen(1);
    await expectToWait(await buyer.send(url, init, second));
    settle.release();
    await becomes(shop, first, { state, leased: false });
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1 });
  },
);

test("a client that pays once and leaves again and again is credited after a handful of upstream runs", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "runs" });
  const payment = await buyer.sign(agent, init);
  const before = tally(shop);
  const orphans = watchOrphans(shop);
  const big = answers.chat("x".repeat(4_000));
  shop.upstream.next(big);
  const settle = shop.facilitator.hold("settle");
  const call = startCall(agent, init, payment);
  await settle.arrived;
  call.leave();
  await orphans.seen(1);
  settle.release();
  await becomes(shop, payment, { state: "settled", leased: false });

  let left = 1;
  for (; left <= 10; left += 1) {
    const held = shop.upstream.hold();
    const retry = startCall(agent, init, payment);
    const first = await Promise.race([held.arrived.then(() => "runs" as const), retry.answer]);
    if (first !== "runs") {
      // Nobody asked the upstream: the next test's call is the one that finds this.
      held.release();
      expect(await refusalOf(first)).toEqual([409, "payment_credited"]);
      break;
    }
    retry.leave();
    await orphans.seen(left + 1);
    held.release(big);
    await becomes(shop, payment, { leased: false });
  }
  expect(left).toBeLessThanOrEqual(7);
  await becomes(shop, payment, { state: "credited" });
  expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1 });
  expect(since(shop, before).upstreamCalls).toBeLessThanOrEqual(7);
  expect(await credit(shop, buyer.address)).toBe(PRICE);
  expect(await refusalOf(await buyer.send(agent, init, payment))).toEqual([409, "payment_credited"]);
  expect(await credit(shop, buyer.address)).toBe(PRICE);
});

describe("protocol v1, which proves nothing about whom a transfer was for", () => {
  test("a settlement of unknown outcome that landed serves a newly signed payment", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "v1 twin" });
    const first = await buyer.signV1(agent, init);
    const before = tally(shop);
    const late = shop.facilitator.lateLanding("settle", faults.reset);
    expect(await refusalOf(await buyer.send(agent, init, first))).toEqual([503, "settlement_unknown"]);
    expect(JSON.parse((await late.release()).body)).toMatchObject({ success: true });
    shop.localnet.warp(1);
    const second = await buyer.signV1(agent, init);
    expect(paymentId(second)).not.toBe(paymentId(first));
    expect((await buyer.send(agent, init, second)).status).toBe(200);
    await becomes(shop, first, { state: "delivered" });
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1 });
    expect(await credit(shop, buyer.address)).toBe(0n);
  });

  // Last: a chain that leaps leaves the gateway's idea of its height behind for some seconds.
  test("a transfer that bought something elsewhere is refused here, and never credited", async () => {
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "paid elsewhere" });
    const payment = await buyer.signV1(agent, init);
    expect(await settleElsewhere(shop, agent, init, payment)).toMatchObject({ success: true });
    const before = tally(shop);
    expect((await buyer.send(agent, init, payment)).status).toBe(402);
    for (const slots of [0, BEYOND_EXPIRY]) {
      if (slots > 0) shop.localnet.warp(slots);
      await shop.gateway.payments.reconciler.sweep();
      await shop.gateway.payments.reconciler.sweep();
    }
    // Claimed a second time, it must not be watched either.
    expect((await buyer.send(agent, init, payment)).status).toBe(402);
    await shop.gateway.payments.reconciler.sweep();
    expect(await recordOf(shop, payment)).toMatchObject({ state: "released", watched: false });
    expect(await credit(shop, buyer.address)).toBe(0n);
    expect(since(shop, before)).toMatchObject({ settled: 0, upstreamCalls: 0 });
  });
});
