import { randomBytes } from "node:crypto";
import { getBase58Decoder } from "@solana/kit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY, type Sale } from "../faults/audit.ts";
import { type RpcProxy, startRpcProxy } from "../faults/rpc-proxy.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { alter, checkShop, claimOf, nodesAt } from "./stand.ts";

let shop: Shop;
let auditor: Auditor;
let served: Sale;
let other: Sale;
beforeAll(async () => {
  shop = await openShop();
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
  [served, other] = [await auditor.sell(), await auditor.sell()];
  for (const sale of [served, other]) expect(await sale.send()).toMatchObject({ status: 200 });
  expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
  shop.localnet.warp(PAST_EXPIRY);
});
afterAll(() => shop.close());

/** Puts a column of the served payment to something else for one test. */
async function altered(column: string, value: unknown, run: () => Promise<void>): Promise<void> {
  const record = await auditor.record(served);
  const was: Readonly<Record<string, unknown>> = {
    ...{ id: record?.id, tx: record?.transaction, amount: record?.amount, pay_to: record?.payTo },
  };
  alter(shop, `UPDATE payment SET ${column} = ? WHERE id = ?`, value, served.id);
  try {
    await run();
  } finally {
    const id = column === "id" ? value : served.id;
    alter(shop, `UPDATE payment SET ${column} = ? WHERE id = ?`, was[column], id);
  }
  expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
}

const signature = () => getBase58Decoder().decode(randomBytes(64));

test.each<[string, () => unknown, string]>([
  ["amount", () => 20_001n, "wrong_amount"],
  ["amount", () => 19_999n, "wrong_amount"],
  ["pay_to", () => served.payer, "wrong_recipient"],
  ["pay_to", () => "no address", "wrong_recipient"],
  ["tx", () => null, "transaction_missing"],
  ["tx", signature, "wrong_transaction"],
  ["tx", () => "no signature", "wrong_transaction"],
  ["tx", () => other.exchanges[0]?.transaction, "wrong_transaction"],
])("%s of a delivered payment is altered: listed, and --credit does nothing about it", async (...row) => {
  const [column, value, problem] = row;
  await altered(column, value(), async () => {
    const report = await checkShop(shop, { credit: true });
    expect(report).toMatchObject({ undecided: [] });
    expect(report.differences).toMatchObject([
      { problem, payment: served.id, state: "delivered", credited: false },
    ]);
    expect(await shop.gateway.ledger.journal(served.account)).toEqual([]);
  });
});

test("the id is altered: the transfer is not taken for one without a call", async () => {
  await altered("id", "0".repeat(64), async () => {
    expect((await checkShop(shop, { credit: true })).differences).toMatchObject([
      { problem: "wrong_transaction", payment: "0".repeat(64), credited: false },
    ]);
  });
});

test("delivered without a transfer: undecided while it may land, then listed", async () => {
  const { ledger } = shop.gateway;
  const sale = await auditor.sell();
  const claimed = await ledger.claim(claimOf(shop, sale));
  if (claimed.outcome !== "claimed") throw new Error(claimed.outcome);
  await ledger.beginSettle(sale.id, claimed.fence, 60_000);
  await ledger.settled(sale.id, claimed.fence, signature(), undefined);
  await ledger.deliver(sale.id, claimed.fence, undefined);
  expect(await checkShop(shop)).toMatchObject({
    differences: [],
    undecided: [{ payment: sale.id, reason: "not_on_chain_yet", state: "delivered" }],
  });
  shop.localnet.warp(PAST_EXPIRY);
  const listed = { problem: "transaction_not_found", payment: sale.id, state: "delivered", credited: false };
  expect(await checkShop(shop, { credit: true })).toMatchObject({ differences: [listed], undecided: [] });
  // Without a height of the claim its age tells.
  alter(shop, "UPDATE payment SET claim_height = NULL WHERE id = ?", sale.id);
  expect((await checkShop(shop)).differences).toEqual([]);
  const now = () => Date.now() + 3_700_000;
  expect((await checkShop(shop, { now })).differences).toMatchObject([listed]);
  alter(shop, "DELETE FROM payment WHERE id = ?", sale.id);
});

describe("a node lags", () => {
  let lagging: RpcProxy;
  let down: RpcProxy;
  beforeAll(async () => {
    [lagging, down] = [await startRpcProxy(), await startRpcProxy()];
    for (const proxy of [lagging, down]) proxy.forwardTo(shop.localnet.rpcUrl);
    const behind = (height: unknown) => Math.max(0, Number(height) - 2 * PAST_EXPIRY);
    lagging.fail("getBlockHeight", { change: behind });
    lagging.fail("getEpochInfo", {
      change: (result) => {
        const { blockHeight, absoluteSlot } = result as Record<string, unknown>;
        return { blockHeight: behind(blockHeight), absoluteSlot: behind(absoluteSlot) };
      },
    });
    lagging.fail("getTransaction", { change: () => null });
    lagging.fail("getSignaturesForAddress", { change: () => [] });
  });
  afterEach(() => down.repair());
  afterAll(() => Promise.all([lagging.close(), down.close()]));

  test("and the other shows what it does not: nothing differs", async () => {
    const nodes = nodesAt(shop, lagging.url, down.url);
    const report = await checkShop(shop, { nodes });
    expect(report).toMatchObject({ differences: [], undecided: [] });
    expect(report.transactions).toBeGreaterThanOrEqual(2);
  });

  test("and the other cannot tell: undecided, not missing", async () => {
    shop.localnet.warp(3 * PAST_EXPIRY);
    for (const method of ["getTransaction", "getSignaturesForAddress"]) {
      down.fail(method, { status: 500, body: "" });
    }
    const report = await checkShop(shop, { nodes: nodesAt(shop, lagging.url, down.url) });
    expect(report.differences).toEqual([]);
    expect(report.undecided.map(({ reason }) => reason)).toContain("not_on_chain_yet");
  });
});
