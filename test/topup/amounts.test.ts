import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, paymentId, post, termsOf } from "../support/buyer.ts";
import { expectBooksClosed, openCreditShop, order, read } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop();
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const PATHS = ["/topup", "/keys"];

describe.each(PATHS)("POST %s", (path) => {
  test.each([
    ["0.01", "10000"],
    ["$0.01", "10000"],
    ["1", "1000000"],
    ["0.123456", "123456"],
    ["2.00", "2000000"],
  ])("an amount of %j is what the 402 asks", async (amount, atomic) => {
    const response = await fetch(shop.url + path, post({ amount }));
    expect(response.status).toBe(402);
    expect(termsOf(response).accepts).toMatchObject([{ amount: atomic }]);
  });

  test.each(["0.009999", "0.00", "2.000001", "999999999999"])(
    "an amount of %j is out of bounds, and there are no terms for it",
    async (amount) => {
      const answer = await read(await fetch(shop.url + path, post({ amount })));
      expect(answer).toMatchObject({ status: 400, code: "amount_not_accepted" });
      expect(answer.body["error"]).toMatchObject({
        details: { currency: "USD", least: "0.01", most: "2.00" },
      });
      expect(answer.headers.get("payment-required")).toBeNull();
    },
  );

  test.each<[string, unknown]>([
    ["a number", { amount: 1 }],
    ["negative", { amount: "-1.00" }],
    ["too fine", { amount: "1.0000001" }],
    ["in exponents", { amount: "1e0" }],
    ["another currency", { amount: "1.00 EUR" }],
    ["null", { amount: null }],
    ["a list", { amount: ["1.00"] }],
    ["beside a field that nobody knows", { amount: "1.00", account: "acct_other" }],
    ["no object around it", ["1.00"]],
  ])("an amount that is %s is refused before there are terms", async (_name, body) => {
    const answer = await read(await fetch(shop.url + path, post(body)));
    expect(answer).toMatchObject({ status: 400, code: "invalid_request" });
    expect(answer.headers.get("payment-required")).toBeNull();
  });

  test("a body that is no JSON is asked for the usual amount, and refused with a payment", async () => {
    const broken = { ...post({}), body: "{" };
    const buyer = await createBuyer(shop);
    const payment = await buyer.sign(shop.url + path, broken);
    const answer = await read(await buyer.send(shop.url + path, broken, payment));
    expect(answer).toMatchObject({ status: 400, code: "invalid_json" });
    expect(await shop.gateway.ledger.payment(paymentId(payment))).toBeUndefined();
  });

  test.each([
    ["0.05", "1.00"],
    ["1.00", "0.05"],
    ["0.05", "2.01"],
  ])("paid for %s and sent with %s: nothing is settled or credited", async (paid, asked) => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, path, { amount: paid });
    const { settle } = shop.facilitator.calls;
    const refused = await purchase.send({ body: { amount: asked } });
    expect(refused).toMatchObject(
      asked === "2.01"
        ? { status: 400, code: "amount_not_accepted" }
        : { status: 402, code: "payment_mismatch" },
    );
    expect(await shop.gateway.ledger.payment(purchase.id)).toBeUndefined();
    expect(shop.facilitator.calls.settle).toBe(settle);
    expect((await shop.books(purchase.account)).balance).toBe(0n);
    // And once it is credited, no other amount makes more of it.
    await purchase.send();
    expect((await purchase.send({ body: { amount: asked } })).status).not.toBe(200);
    const { balance } = await shop.books(purchase.account);
    expect(balance).toBe(paid === "0.05" ? 50_000n : 1_000_000n);
  });
});
