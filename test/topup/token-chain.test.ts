import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { lineOf } from "../../server/export/export-rows.ts";
import { alter, checkShop, settleElsewhere } from "../chain-check/stand.ts";
import { createTokenBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { order, type Purchase } from "./credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type TokenShop, yamlOf } from "./token-shop.ts";

let shop: TokenShop;
beforeAll(async () => {
  shop = await openTokenShop();
});
afterEach(() => expectTokenBooksClosed(shop));
afterAll(() => shop.close());

const body = { amount: "0.45" };
const AMOUNTS = { classic: 1_000_000n, play: 37_894_736_843n };
const PROGRAMS = ["classic", "play"] as const;
const refusal = faults.reason("insufficient_funds");
const UNKNOWN = { status: 503, code: "settlement_unknown" };

/** Twice: a round that was under way had asked the chain before. */
async function sweep(): Promise<void> {
  await shop.gateway.payments.reconciler.sweep();
  await shop.gateway.payments.reconciler.sweep();
}

describe.each(PROGRAMS)("a payment in the %s token", (name) => {
  async function buy(): Promise<{ purchase: Purchase; account: string }> {
    const { account, secret } = await shop.customer(0n);
    const buyer = await createTokenBuyer(shop, shop[name].mint);
    return { purchase: await order(shop, buyer, "/topup", body, secret), account };
  }

  async function expectCredited(purchase: Purchase, account: string): Promise<void> {
    const record = { state: "credited", amount: 450_000n, assetAmount: AMOUNTS[name] };
    expect(await shop.gateway.ledger.payment(purchase.id)).toMatchObject(record);
    const [entry, ...others] = await shop.gateway.ledger.journal(account);
    expect(others).toEqual([]);
    expect(entry).toMatchObject({
      kind: "topup",
      amount: 450_000n,
      reference: `payment:${purchase.id}`,
    });
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account, balance: "0.45" } });
    expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
  }

  test("unknown, and it landed: the chain decides, and what the terms said is credited", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await purchase.send()).toMatchObject(UNKNOWN);
    await sweep();
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account, balance: "0.45" } });
    await expectCredited(purchase, account);
  });

  test("unknown, and it landed; by then the token has another price, or is gone: the same", async () => {
    for (const tokens of [[{ ...shop[name], usdPrice: "$9.00" }], []]) {
      const { purchase, account } = await buy();
      shop.facilitator.fail("settle", faults.dropAfter);
      expect(await purchase.send()).toMatchObject(UNKNOWN);
      await shop.restart(yamlOf(tokens));
      expect(await purchase.send()).toMatchObject({ status: 200, body: { account, balance: "0.45" } });
      await expectCredited(purchase, account);
      await shop.restart(yamlOf([shop.classic, shop.play]));
    }
  });

  test("unknown, and it never landed: released once it has expired", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("settle", faults.reset);
    expect(await purchase.send()).toMatchObject(UNKNOWN);
    shop.localnet.warp(400);
    await sweep();
    expect(await shop.gateway.ledger.payment(purchase.id)).toMatchObject({ state: "released" });
    expect((await shop.books(account)).balance).toBe(0n);
  });

  test("refused, and it lands after all: the sweep credits it", async () => {
    const { purchase, account } = await buy();
    const late = shop.facilitator.lateLanding("settle", refusal);
    expect(await purchase.send()).toMatchObject({ status: 402, code: "payment_refused" });
    await late.release();
    await sweep();
    await expectCredited(purchase, account);
  });

  test("refused, landed, and found by check --chain --credit: what the terms said", async () => {
    const { purchase, account } = await buy();
    const late = shop.facilitator.lateLanding("settle", refusal);
    await purchase.send();
    await late.release();
    alter(shop, "UPDATE payment SET watched = 0 WHERE id = ?", purchase.id);
    const found = { problem: "transfer_without_call", payment: purchase.id, account, amount: 450_000n };
    const inToken = { asset: shop[name].mint, assetAmount: AMOUNTS[name] };
    const listed = (await checkShop(shop)).differences;
    expect(listed).toMatchObject([{ ...found, ...inToken, credited: false }]);
    expect((await shop.books(account)).balance).toBe(0n);
    const { differences } = await checkShop(shop, { credit: true });
    expect(differences).toMatchObject([{ ...found, ...inToken, credited: true }]);
    await expectCredited(purchase, account);
  });

  test("never presented: listed, and not credited by any guess; presented, it is credited as the terms said", async () => {
    const { purchase, account } = await buy();
    await settleElsewhere(shop, purchase);
    const found = { problem: "value_unknown", payment: purchase.id, amount: undefined, credited: false };
    const { differences } = await checkShop(shop, { credit: true });
    expect(differences).toMatchObject([{ ...found, assetAmount: AMOUNTS[name], asset: shop[name].mint }]);
    expect(await shop.gateway.ledger.payment(purchase.id)).toBeUndefined();
    expect((await shop.books(purchase.account)).balance).toBe(0n);
    expect(await purchase.send()).toMatchObject({ status: 402, code: "payment_invalid" });
    await sweep();
    await expectCredited(purchase, account);
  });

  test("a record that says another amount of the token, or another token, differs from the chain", async () => {
    const { purchase, account } = await buy();
    await purchase.send();
    const changes = [
      ["asset_amount", "1", "wrong_amount"],
      ["asset_amount", null, "wrong_amount"],
      ["asset", shop.localnet.asset, "wrong_recipient"],
      ["asset", "nobody's", "wrong_recipient"],
    ] as const;
    const written = { asset_amount: AMOUNTS[name].toString(), asset: shop[name].mint };
    for (const [column, value, problem] of changes) {
      alter(shop, `UPDATE payment SET ${column} = ? WHERE id = ?`, value, purchase.id);
      const { differences } = await checkShop(shop, { credit: true });
      expect(differences).toMatchObject([{ problem, payment: purchase.id, credited: false }]);
      alter(shop, `UPDATE payment SET ${column} = ? WHERE id = ?`, written[column], purchase.id);
    }
    await expectCredited(purchase, account);
  });

  test("is exported with its asset and amount", async () => {
    const { purchase } = await buy();
    await purchase.send();
    const payment = await shop.gateway.ledger.payment(purchase.id);
    if (payment === undefined) throw new Error("no record");
    expect(JSON.parse(lineOf({ kind: "payments", payment }, "jsonl"))).toMatchObject({
      ...{ amount_usd: "0.45", amount_micro_usd: "450000", asset: shop[name].mint, topup: true },
      asset_amount: AMOUNTS[name].toString(),
    });
  });
});

test("a record of USDC whose worth is not what moved differs from the chain", async () => {
  const purchase = await order(shop, await createTokenBuyer(shop, shop.localnet.asset), "/topup", body);
  await purchase.send();
  alter(shop, "UPDATE payment SET asset_amount = amount, amount = amount + 1 WHERE id = ?", purchase.id);
  const { differences } = await checkShop(shop);
  expect(differences).toMatchObject([{ problem: "wrong_amount", payment: purchase.id }]);
  alter(shop, "UPDATE payment SET asset_amount = NULL, amount = amount - 1 WHERE id = ?", purchase.id);
});
