import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY, type Sale } from "../faults/audit.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { alter, checkShop, claimOf, dump, sendByHand, settleElsewhere } from "./stand.ts";

let shop: Shop;
let auditor: Auditor;
beforeAll(async () => {
  shop = await openShop();
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterAll(() => shop.close());
// What one test leaves is nothing to the next.
beforeEach(async () => {
  expect(await checkShop(shop, { credit: true })).toMatchObject({ undecided: [] });
});

const PRICE = 20_000n;

async function expectCreditedOnce(sale: Pick<Sale, "id" | "account">): Promise<void> {
  expect(await shop.gateway.ledger.journal(sale.account)).toMatchObject([
    { reference: `payment:${sale.id}`, kind: "owed_credit", amount: PRICE, balance: PRICE },
  ]);
}

/** A payment that is signed and on the chain, and that the shop has never seen. */
async function unpresented(): Promise<Sale> {
  const sale = await auditor.sell();
  await settleElsewhere(shop, sale);
  return sale;
}

test("a clean shop: nothing differs, and nothing is changed", async () => {
  for (const path of ["/agent", "/v1/chat/completions"]) {
    expect(await (await auditor.sell({ path })).send()).toMatchObject({ status: 200 });
  }
  expect(await (await auditor.sell({ v1: true })).send()).toMatchObject({ status: 200 });
  const before = dump(shop);
  const report = await checkShop(shop, { credit: true });
  expect(report).toMatchObject({ differences: [], undecided: [] });
  expect(report.payments).toBeGreaterThanOrEqual(3);
  expect(report.transactions).toBeGreaterThanOrEqual(3);
  expect(dump(shop)).toEqual(before);
});

test("served, exported and trimmed: no transfer without a call, and the payment buys nothing again", async () => {
  const { ledger } = shop.gateway;
  const sale = await auditor.sell();
  expect(await sale.send()).toMatchObject({ status: 200 });
  // Eight days ago.
  alter(shop, "UPDATE payment SET updated_at = updated_at - 691200000 WHERE id = ?", sale.id);
  const page = await ledger.unexported("payments", undefined, 10_000);
  await ledger.markExported("payments", page.marks);
  expect(await ledger.trimExported("payments", 7 * 86_400_000)).toBe(1);
  expect(await ledger.payment(sale.id)).toBeUndefined();

  for (const credit of [false, true]) {
    expect(await checkShop(shop, { credit })).toMatchObject({ differences: [], undecided: [] });
  }
  expect(await ledger.balance(sale.account)).toBe(0n);
  expect(await sale.send()).toMatchObject({ status: 409, code: "payment_already_used" });
  expect(await ledger.payment(sale.id)).toBeUndefined();
});

test("never presented: listed, then credited once, and refused as credited when it is presented", async () => {
  const sale = await unpresented();
  const found = {
    problem: "transfer_without_call",
    payment: sale.id,
    state: undefined,
    account: sale.account,
    amount: PRICE,
    asset: shop.localnet.asset,
    assetAmount: PRICE,
    transaction: expect.any(String),
  };
  const before = dump(shop);
  expect((await checkShop(shop)).differences).toEqual([{ ...found, credited: false }]);
  expect(dump(shop)).toEqual(before);
  expect((await checkShop(shop, { credit: true })).differences).toEqual([{ ...found, credited: true }]);
  await expectCreditedOnce(sale);
  expect(await checkShop(shop, { credit: true })).toMatchObject({ differences: [], undecided: [] });
  await expectCreditedOnce(sale);

  const upstream = shop.upstream.calls.length;
  expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
  expect(shop.upstream.calls.length).toBe(upstream);
  expect(await auditor.record(sale)).toMatchObject({ state: "credited", reason: "never_presented" });
});

test("two runs at once, each with the ledger of its own process: one credit", async () => {
  const sales = [await unpresented(), await unpresented(), await unpresented()];
  const onFatal = (error: Error): never => {
    throw error;
  };
  const other = await openSqliteLedger({
    path: join(shop.dataDir, "ledger.sqlite"),
    network: shop.config.caip2,
    onFatal,
  });
  const runs = await Promise.all([
    checkShop(shop, { credit: true }),
    checkShop(shop, { credit: true, ledger: other }),
    checkShop(shop, { credit: true, ledger: other }),
  ]);
  await other.close();
  for (const { undecided } of runs) expect(undecided).toEqual([]);
  for (const sale of sales) await expectCreditedOnce(sale);
});

test("a run and the presentation of the same payment at once: served or credited, never both", async () => {
  for (let round = 0; round < 5; round += 1) {
    const sale = await unpresented();
    const [, answer] = await Promise.all([checkShop(shop, { credit: true }), sale.send()]);
    await auditor.sweep();
    const state = await auditor.state(sale);
    const journal = await shop.gateway.ledger.journal(sale.account);
    expect(journal).toHaveLength(state === "credited" ? 1 : 0);
    if (answer.status === 200) expect(state).toBe("delivered");
    if (state === "unknown") expect(answer.status).toBe(503);
    for (let tries = 0; (await auditor.state(sale)) === "unknown" && tries < 3; tries += 1) await sale.send();
  }
});

test("a transfer of less than two minutes ago is left alone", async () => {
  const sale = await unpresented();
  const now = Date.now;
  expect(await checkShop(shop, { credit: true, now })).toMatchObject({
    differences: [],
    undecided: [{ payment: sale.id, reason: "recent", state: undefined }],
  });
  expect(await auditor.record(sale)).toBeUndefined();
});

test("a transfer that is not final is left alone", async () => {
  const sale = await unpresented();
  expect(await checkShop(shop, { credit: true }, 0)).toMatchObject({ differences: [], undecided: [] });
  expect(await auditor.record(sale)).toBeUndefined();
});

test("a gateway works on it: left alone, until it gives up", async () => {
  const sale = await unpresented();
  const { ledger } = shop.gateway;
  const claimed = await ledger.claim(claimOf(shop, sale));
  if (claimed.outcome !== "claimed") throw new Error(claimed.outcome);
  const waits = { payment: sale.id, reason: "in_progress" };
  expect(await checkShop(shop, { credit: true })).toMatchObject({
    differences: [],
    undecided: [{ ...waits, state: "open" }],
  });
  expect(await ledger.beginSettle(sale.id, claimed.fence, 60_000)).toBe("ok");
  expect(await checkShop(shop, { credit: true })).toMatchObject({
    differences: [],
    undecided: [{ ...waits, state: "settling" }],
  });
  expect(await ledger.journal(sale.account)).toEqual([]);
  await ledger.release(sale.id, claimed.fence, { reason: "refused", watched: false, strikeMs: 0 });
  expect(await checkShop(shop, { credit: true })).toMatchObject({
    differences: [{ problem: "transfer_without_call", state: "released", credited: true }],
  });
  await expectCreditedOnce(sale);
  expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited" });
});

test("released and watched: credited by the ledger's own steps, once, whoever comes first", async () => {
  const sale = await auditor.sell();
  const { ledger } = shop.gateway;
  const claimed = await ledger.claim(claimOf(shop, sale));
  if (claimed.outcome !== "claimed") throw new Error(claimed.outcome);
  await ledger.beginSettle(sale.id, claimed.fence, 60_000);
  await settleElsewhere(shop, sale);
  await ledger.release(sale.id, claimed.fence, { reason: "refused", watched: true, strikeMs: 0 });
  const [report] = await Promise.all([checkShop(shop, { credit: true }), auditor.sweep()]);
  for (const { credited } of report.differences) expect(credited).toBe(true);
  await auditor.sweep();
  await expectCreditedOnce(sale);
  expect(await auditor.record(sale)).toMatchObject({ state: "credited", watched: false });
});

test("settlement unknown: listed as undecided; with --credit the chain decides it, and its client is served", async () => {
  const sale = await auditor.sell();
  const { ledger } = shop.gateway;
  shop.facilitator.fail("settle", faults.dropAfter);
  // Whoever has taken it meanwhile is the gateway's own reconciler: then it is settled already.
  expect(await sale.send()).toMatchObject({ status: 503, settles: 1 });
  const report = await checkShop(shop, { credit: true });
  expect(report.differences).toEqual([]);
  await auditor.sweep();
  expect(await ledger.journal(sale.account)).toEqual([]);
  expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
});

test("settlement unknown and never landed: undecided, not wrong, until the chain says that it cannot land", async () => {
  const sale = await auditor.sell();
  const { ledger } = shop.gateway;
  // With the true height: the gateway's bound of it does not foresee that a test puts the chain ahead.
  const claimed = await ledger.claim(claimOf(shop, sale));
  if (claimed.outcome !== "claimed") throw new Error(claimed.outcome);
  await ledger.beginSettle(sale.id, claimed.fence, 60_000);
  await ledger.unknown(sale.id, claimed.fence, "timeout", undefined);
  expect(await checkShop(shop, { credit: true })).toMatchObject({
    differences: [],
    undecided: [{ payment: sale.id, state: "unknown" }],
  });
  shop.localnet.warp(PAST_EXPIRY);
  const isReleased = async () => {
    await auditor.sweep();
    return (await auditor.state(sale)) === "released";
  };
  await vi.waitUntil(isReleased, { interval: 10, timeout: 10_000 });
  expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
});

test("made by hand, its own fee payer: found by its memo and credited to who paid", async () => {
  const buyer = await createBuyer(shop);
  await sendByHand(shop, buyer);
  expect(await checkShop(shop, { credit: true })).toMatchObject({
    differences: [{ problem: "transfer_without_call", account: `wallet:${buyer.address}`, credited: true }],
  });
  expect(await shop.gateway.ledger.balance(`wallet:${buyer.address}`)).toBe(PRICE);
});

test("--since looks at newer transfers only", async () => {
  const sale = await unpresented();
  const since = Date.now() + 60_000;
  expect(await checkShop(shop, { credit: true, since })).toMatchObject({
    payments: 0,
    differences: [],
  });
  expect(await auditor.record(sale)).toBeUndefined();
});
