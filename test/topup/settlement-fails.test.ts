import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { expectBooksClosed, landed, openCreditShop, order, type Purchase } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop();
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const body = { amount: "0.05" };
const refusal = faults.reason("insufficient_funds");
const REFUSED = { status: 402, code: "payment_refused" };
const UNKNOWN = { status: 503, code: "settlement_unknown" };

const stateOf = async ({ id }: Purchase) => (await shop.gateway.ledger.payment(id))?.state;
/** Twice: a round that was under way had asked the chain before. */
async function sweep(): Promise<void> {
  await shop.gateway.payments.reconciler.sweep();
  await shop.gateway.payments.reconciler.sweep();
}

interface Case {
  readonly path: string;
  readonly keyed: boolean;
}
const CASES: readonly Case[] = [
  { path: "/keys", keyed: false },
  { path: "/topup", keyed: false },
  { path: "/topup", keyed: true },
];

describe.each(CASES)("POST $path (a key sent along: $keyed)", ({ path, keyed }) => {
  async function buy(): Promise<{ purchase: Purchase; account: string }> {
    const customer = keyed ? await shop.customer(0n) : undefined;
    const purchase = await order(shop, await createBuyer(shop), path, body, customer?.secret);
    return { purchase, account: customer?.account ?? purchase.account };
  }

  async function expectCredited(purchase: Purchase, account: string, shown: boolean): Promise<void> {
    expect(await stateOf(purchase)).toBe("credited");
    expect((await shop.books(account)).balance).toBe(50_000n);
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { account, amount: "0.05", balance: "0.05" } });
    expect(answer.body["transaction"]).toEqual(expect.any(String));
    // The key is made when somebody is there to be shown its secret.
    expect("key" in answer.body).toBe(path === "/keys" && shown);
    expect((await purchase.send()).body).not.toHaveProperty("key");
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(path === "/keys" ? 1 : 0);
    expect((await shop.books(account)).balance).toBe(50_000n);
  }

  test("refused: nothing is credited, and the same payment is good later", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("settle", refusal);
    expect(await purchase.send()).toMatchObject(REFUSED);
    expect((await shop.books(account)).balance).toBe(0n);
    expect(await shop.gateway.ledger.keys(purchase.account)).toEqual([]);
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account } });
    await expectCredited(purchase, account, false);
  });

  test("refused, and it lands after all: credited by the sweep, and the retry is answered", async () => {
    const { purchase, account } = await buy();
    const late = shop.facilitator.lateLanding("settle", refusal);
    expect(await purchase.send()).toMatchObject(REFUSED);
    await late.release();
    await sweep();
    await expectCredited(purchase, account, true);
  });

  test("refused, and it lands after all: the retry is answered without a sweep", async () => {
    const { purchase, account } = await buy();
    const late = shop.facilitator.lateLanding("settle", refusal);
    expect(await purchase.send()).toMatchObject(REFUSED);
    await late.release();
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
    expect("key" in answer.body).toBe(path === "/keys");
    await expectCredited(purchase, account, false);
  });

  test("unknown, and it landed: the retry asks the chain, credits it and is answered", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await purchase.send()).toMatchObject(UNKNOWN);
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
    await expectCredited(purchase, account, false);
  });

  test("unknown, and it landed; by then no such amount is sold any more: the same", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await purchase.send()).toMatchObject(UNKNOWN);
    await shop.restart(`topup: { min: "$0.06", max: "$1.00" }\n`);
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
    await expectCredited(purchase, account, false);
    await shop.restart(`topup: { min: "$0.01", max: "$2.00" }\n`);
  });

  test("an amount that is not sold any more when the payment comes: not claimed, and nothing is spent", async () => {
    const { purchase, account } = await buy();
    await shop.restart(`topup: { min: "$0.06", max: "$1.00" }\n`);
    expect(await purchase.send()).toMatchObject({ status: 400, code: "amount_not_accepted" });
    expect(await stateOf(purchase)).toBeUndefined();
    await shop.restart(`topup: { min: "$0.01", max: "$2.00" }\n`);
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
  });

  test("unknown, it lands late and a newly signed payment comes: the first is credited, the second not settled", async () => {
    const customer = keyed ? await shop.customer(0n) : undefined;
    const buyer = await createBuyer(shop);
    const first = await order(shop, buyer, path, body, customer?.secret);
    const late = shop.facilitator.lateLanding("settle", faults.reset);
    expect(await first.send()).toMatchObject(UNKNOWN);
    const second = await order(shop, buyer, path, body, customer?.secret);
    expect(await second.send()).toMatchObject(UNKNOWN);
    await late.release();
    const answer = await second.send();
    const account = customer?.account ?? first.account;
    expect(answer).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
    // However often it comes back: its purchase was made with the first one's money.
    const again = await second.send();
    expect(again).toMatchObject({ status: 200, body: { account, balance: "0.05" } });
    expect(again.body).not.toHaveProperty("key");
    expect(landed(shop).has(second.id)).toBe(false);
    await expectCredited(first, account, false);
  });

  test("the facilitator cannot be reached: nothing is spent, and the same payment is good later", async () => {
    const { purchase, account } = await buy();
    shop.facilitator.fail("verify", faults.html);
    expect(await purchase.send()).toMatchObject({ status: 503, code: "facilitator_unavailable" });
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account } });
    await expectCredited(purchase, account, false);
  });
});
