import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { checkShop, settleElsewhere } from "../chain-check/stand.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { expectBooksClosed, openCreditShop, order } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop();
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const body = { amount: "0.05" };
const found = { problem: "transfer_without_call", amount: 50_000n, credited: true };

test("refused, landed and found by the operator: the account of the key that was sent along is credited", async () => {
  const customer = await shop.customer(0n);
  const purchase = await order(shop, await createBuyer(shop), "/topup", body, customer.secret);
  const late = shop.facilitator.lateLanding("settle", faults.reason("insufficient_funds"));
  expect((await purchase.send()).status).toBe(402);
  await late.release();
  const { differences } = await checkShop(shop, { credit: true });
  expect(differences).toMatchObject([{ ...found, payment: purchase.id, account: customer.account }]);
  expect(await shop.books(customer.account)).toMatchObject({ balance: 50_000n });
  expect(await checkShop(shop)).toMatchObject({ differences: [], undecided: [] });
});

test.each([
  ["a gateway that has forgotten it", "/topup"],
  ["a client that has never presented it", "/keys"],
])(
  "settled behind the back of %s: on the wallet's account, and whoever holds the token is answered",
  async (_, path) => {
    const purchase = await order(shop, await createBuyer(shop), path, body);
    await settleElsewhere(shop, purchase);
    const { differences } = await checkShop(shop, { credit: true });
    expect(differences).toMatchObject([{ ...found, payment: purchase.id, account: purchase.account }]);
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { account: purchase.account, balance: "0.05" } });
    expect("key" in answer.body).toBe(path === "/keys");
    expect((await purchase.send()).body).not.toHaveProperty("key");
  },
);
