import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, payloadOf, paymentId, post, termsOf } from "../support/buyer.ts";
import { expectBooksClosed, openCreditShop, order, type Purchase, read } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop();
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

const body = { amount: "0.05" };

const encode = (payload: unknown): string => Buffer.from(JSON.stringify(payload)).toString("base64");

/** What somebody can make of a payment who has seen it on the chain: everything but the token. */
async function rebuilt(
  { payment, url }: Purchase,
  path: string,
): Promise<[string, Record<string, string>][]> {
  const seen = payloadOf(payment);
  const { token: _token, ...extra } = seen.accepted.extra;
  const offered = termsOf(await fetch(url, post(body))).accepts[0] as { extra: Record<string, string> };
  const v2 = (token?: string) => ({
    "PAYMENT-SIGNATURE": encode({
      ...seen,
      accepted: { ...seen.accepted, extra: token === undefined ? extra : { ...extra, token } },
    }),
  });
  const v1 = {
    "X-PAYMENT": encode({ x402Version: 1, scheme: "exact", network: "solana", payload: seen.payload }),
  };
  return [
    [path, v2()],
    [path, v2(offered.extra["token"])],
    [path, v1],
  ];
}

describe.each(["/keys", "/topup"])("a payment for POST %s, watched on the chain", (path) => {
  test.each([
    ["credited and answered", true],
    ["not yet seen here", false],
  ])("%s: replayed by a stranger it yields nothing", async (_name, isSent) => {
    const buyer = await createBuyer(shop);
    const purchase = await order(shop, buyer, path, body);
    if (isSent) await purchase.send();
    const known = await shop.gateway.ledger.payment(purchase.id);
    const keys = await shop.gateway.ledger.keys(purchase.account);
    const stranger = await shop.customer(0n);
    for (const [target, payment] of await rebuilt(purchase, path)) {
      for (const bearer of [undefined, stranger.secret]) {
        const headers = {
          ...payment,
          ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        };
        const answer = await read(await fetch(shop.url + target, { ...post(body), headers }));
        expect([400, 402]).toContain(answer.status);
        expect(answer.text).not.toContain(buyer.address);
        for (const { id } of keys) expect(answer.text).not.toContain(id);
      }
    }
    expect(await shop.gateway.ledger.payment(purchase.id)).toEqual(known);
    expect((await shop.books(stranger.account)).balance).toBe(0n);
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(isSent && path === "/keys" ? 1 : 0);
  });
});

test("a payment of version 1 buys no credit, and nothing is claimed", async () => {
  const buyer = await createBuyer(shop);
  // Signed for a call that is sold under version 1, at an amount that credit is sold for too.
  const call = `${shop.url}/agent`;
  const payment = await buyer.signV1(call, post({ prompt: "hi" }));
  const { settle } = shop.facilitator.calls;
  for (const path of ["/keys", "/topup"]) {
    const answer = await read(await buyer.send(shop.url + path, post({ amount: "0.02" }), payment));
    expect(answer).toMatchObject({ status: 400, code: "unsupported_version" });
  }
  expect(await shop.gateway.ledger.payment(paymentId(payment))).toBeUndefined();
  expect(shop.facilitator.calls.settle).toBe(settle);
});
