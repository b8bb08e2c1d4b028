import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { mintKey } from "../../server/ledger/keys.ts";
import { type Customer, chat, type KeyedShop } from "../keyed/keyed-shop.ts";
import { type Buyer, createBuyer, post, termsOf } from "../support/buyer.ts";
import { type Answer, expectBooksClosed, openCreditShop, order, type Purchase, read } from "./credit-shop.ts";

let shop: KeyedShop;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openCreditShop();
  buyer = await createBuyer(shop);
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
const body = { amount: "0.05" };

/** Neither the ledger nor the facilitator has heard of the payment. */
async function expectUntouched({ id }: Purchase, calls: { verify: number; settle: number }): Promise<void> {
  expect(await shop.gateway.ledger.payment(id)).toBeUndefined();
  expect(shop.facilitator.calls).toMatchObject(calls);
}

describe("without a key", () => {
  test("the wallet that pays is credited; a second payment adds to it", async () => {
    const first = await (await order(shop, buyer, "/topup", body)).send();
    expect(first).toMatchObject({ status: 200, code: undefined });
    expect(first.body).toEqual({
      asset: shop.localnet.asset,
      asset_amount: "50000",
      ...{ account: `wallet:${buyer.address}`, amount: "0.05", currency: "USD", balance: "0.05" },
      ...{ transaction: expect.any(String), repeated: false },
    });
    const second = await (await order(shop, buyer, "/topup", body)).send();
    expect(second.body).toMatchObject({ balance: "0.10", repeated: false });
    expect(second.body["transaction"]).not.toBe(first.body["transaction"]);
  });

  test("another scheme than Bearer names no account", async () => {
    const headers = { authorization: `Basic ${btoa("a:b")}` };
    expect((await fetch(`${shop.url}/topup`, { ...post(body), headers })).status).toBe(402);
  });
});

describe("with a key", () => {
  test("the key's account is credited, and the wallet's is not", async () => {
    const customer = await shop.customer(10_000n);
    const payer = await createBuyer(shop);
    const purchase = await order(shop, payer, "/topup", body, customer.secret);
    const answer = await purchase.send();
    expect(answer.body).toMatchObject({ account: customer.account, amount: "0.05", balance: "0.06" });
    expect(await shop.books(customer.account)).toEqual({ balance: 60_000n, held: 0n, journal: 60_000n });
    expect(await shop.books(purchase.account)).toEqual({ balance: 0n, held: 0n, journal: 0n });
    expect(await shop.usageOf(customer.account)).toMatchObject([
      { tier: "x402", route: "POST /topup", charged: 50_000n, payer: payer.address, keyId: undefined },
    ]);
    const response = await fetch(`${shop.url}/v1/chat/completions`, {
      ...{ method: "POST", headers: customer.headers, body: chat("hi", { model: "flat-test" }) },
    });
    expect(response.status).toBe(200);
    const again = await purchase.send();
    expect(again).toMatchObject({ status: 200, body: { balance: "0.05", repeated: true } });
  });

  test("that has run dry, the key works again", async () => {
    const customer = await shop.customer(0n);
    const call = () =>
      fetch(`${shop.url}/v1/chat/completions`, {
        ...{ method: "POST", headers: customer.headers, body: chat("hi", { model: "flat-test" }) },
      });
    expect((await call()).status).toBe(402);
    await (await order(shop, buyer, "/topup", body, customer.secret)).send();
    expect((await call()).status).toBe(200);
  });

  test("the same payment with another key, or with none, is for another request", async () => {
    const [one, other] = [await shop.customer(0n), await shop.customer(0n)];
    const purchase = await order(shop, await createBuyer(shop), "/topup", body, one.secret);
    expect((await purchase.send()).status).toBe(200);
    const refused = { status: 409, code: "payment_already_used" };
    expect(await purchase.send({ bearer: other.secret })).toMatchObject(refused);
    const bare = fetch(purchase.url, { ...post(body), headers: { ...purchase.payment } });
    expect(await read(await bare)).toMatchObject({ status: 409 });
    expect((await shop.books(other.account)).balance).toBe(0n);
    expect((await shop.books(one.account)).balance).toBe(50_000n);
  });

  test("another key of the same account is the same request", async () => {
    const one = await shop.customer(0n);
    const other = await shop.keyFor(one.account);
    const purchase = await order(shop, await createBuyer(shop), "/topup", body, one.secret);
    await purchase.send();
    const again = await purchase.send({ bearer: other.secret });
    expect(again).toMatchObject({ status: 200, body: { account: one.account, repeated: true } });
  });
});

describe("a key that is not good is refused before anything is claimed", () => {
  async function revoked(): Promise<Customer> {
    const customer = await shop.customer(0n);
    await shop.gateway.ledger.revokeKey(customer.keyId);
    return customer;
  }

  test.each<[string, () => Promise<string>, string]>([
    ["unknown", async () => mintKey("sk_farebox_").secret, "invalid_api_key"],
    ["revoked", async () => (await revoked()).secret, "invalid_api_key"],
    ["expired", async () => (await shop.customer(0n, { expiresAt: 1 })).secret, "invalid_api_key"],
    ["of somebody else's", async () => "sk-other-0000000000000000", "invalid_api_key"],
    ["none but a token", async () => JWT, "invalid_api_key"],
  ])("%s", async (_name, secretOf, code) => {
    const purchase = await order(shop, await createBuyer(shop), "/topup", body);
    const { verify, settle } = shop.facilitator.calls;
    const secret = await secretOf();
    const refused = await purchase.send({ bearer: secret });
    expect(refused).toMatchObject({ status: 401, code });
    expect(refused.headers.get("www-authenticate")).toContain("Bearer");
    await expectUntouched(purchase, { verify, settle });
    const unpaid = await fetch(purchase.url, {
      ...post(body),
      headers: { authorization: `Bearer ${secret}` },
    });
    expect(unpaid.status).toBe(401);
    // The payment is as good as before.
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account: purchase.account } });
  });
});

describe("a key is no way to pay", () => {
  test.each(["/topup", "/keys"])("POST %s with a good key and no payment is 402 with terms", async (path) => {
    const customer = await shop.customer(10_000_000n);
    const response = await fetch(shop.url + path, { ...post(body), headers: customer.headers });
    expect(response.status).toBe(402);
    expect(termsOf(response).accepts).toMatchObject([{ amount: "50000" }]);
    expect((await shop.books(customer.account)).balance).toBe(10_000_000n);
  });

  test("POST /keys makes a key to the wallet's account, whatever key is sent along", async () => {
    const customer = await shop.customer(0n);
    const payer = await createBuyer(shop);
    const answer: Answer = await (await order(shop, payer, "/keys", body, customer.secret)).send();
    expect(answer.body).toMatchObject({ account: `wallet:${payer.address}`, balance: "0.05" });
    expect((await shop.books(customer.account)).balance).toBe(0n);
  });
});

test("a new payment under the same payment-identifier is answered with the first, and not settled", async () => {
  const payer = await createBuyer(shop);
  const identify = (declared: Record<string, unknown>): void => {
    const extension = declared["payment-identifier"] as { info: Record<string, unknown> };
    extension.info["id"] = "topup-identifier-0001";
  };
  const sign = () => payer.sign(`${shop.url}/topup`, post(body), identify);
  const first = await read(await payer.send(`${shop.url}/topup`, post(body), await sign()));
  const second = await read(await payer.send(`${shop.url}/topup`, post(body), await sign()));
  expect(second).toMatchObject({ status: 200, body: { ...first.body, repeated: true } });
  expect((await shop.books(`wallet:${payer.address}`)).balance).toBe(50_000n);
});
