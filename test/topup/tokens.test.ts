import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, createTokenBuyer, post, proofOf, termsOf } from "../support/buyer.ts";
import { landed, order } from "./credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type Setting, type TokenShop } from "./token-shop.ts";

let shop: TokenShop;
beforeAll(async () => {
  shop = await openTokenShop();
});
afterEach(() => expectTokenBooksClosed(shop));
afterAll(() => shop.close());

const settings = { classic: () => shop.classic, play: () => shop.play };

/** What the 402 asks for in each asset: the price less the haircut, rounded up. */
const ASKED = [
  { usd: "0.05", usdc: "50000", classic: "111112", play: "4210526316" },
  { usd: "0.45", usdc: "450000", classic: "1000000", play: "37894736843" },
  { usd: "1.1875", usdc: "1187500", classic: "2638889", play: "100000000000" },
];

describe.each(["/topup", "/keys"])("POST %s", (path) => {
  test.each(ASKED)("the 402 for $usd USD has an entry for each token, USDC first", async (asked) => {
    const response = await fetch(shop.url + path, post({ amount: asked.usd }));
    const text = await response.text();
    const terms = termsOf(response);
    expect(JSON.parse(text)).toEqual(terms);
    const { merchant, asset, network, feePayer } = shop.localnet;
    const common = { scheme: "exact", network, payTo: merchant, maxTimeoutSeconds: 60 };
    const bound = { feePayer, token: expect.any(String), memo: expect.any(String) };
    const entry = ({ mint, symbol, decimals }: Setting, amount: string) => ({
      ...common,
      ...{ asset: mint, amount, extra: { ...bound, symbol, decimals } },
    });
    expect(terms.accepts).toEqual([
      { ...common, asset, amount: asked.usdc, extra: bound },
      entry(shop.classic, asked.classic),
      entry(shop.play, asked.play),
    ]);
    const memos = terms.accepts.map(({ extra }) => (extra as { memo: string }).memo);
    expect(new Set(memos).size).toBe(3);
  });

  test.each(["classic", "play"] as const)("the official client pays in the %s token", async (name) => {
    const { mint } = settings[name]();
    const buyer = await createTokenBuyer(shop, mint);
    const response = await buyer.fetch(shop.url + path, post({ amount: "0.45" }));
    const body = (await response.json()) as Record<string, unknown>;
    expect(response.status).toBe(200);
    const amount = name === "classic" ? "1000000" : "37894736843";
    const account = `wallet:${buyer.address}`;
    expect(body).toMatchObject({ account, amount: "0.45", currency: "USD", balance: "0.45" });
    expect(body).toMatchObject({ asset: mint, asset_amount: amount });
    expect(proofOf(response)).toMatchObject({ success: true, transaction: body["transaction"], amount });
    const { ledger } = shop.gateway;
    const [entry] = await ledger.journal(account);
    expect(entry).toMatchObject({ kind: "topup", amount: 450_000n });
    const record = await ledger.payment(String(entry?.reference.slice("payment:".length)));
    expect(record).toMatchObject({ asset: mint, assetAmount: BigInt(amount), amount: 450_000n });
    expect(landed(shop, mint).get(record?.id ?? "")).toBe(BigInt(amount));
  });
});

test("the same payment again is answered and credits nothing; with a key it is the key's account", async () => {
  const customer = await shop.customer(0n);
  const buyer = await createTokenBuyer(shop, shop.play.mint);
  const purchase = await order(shop, buyer, "/topup", { amount: "0.45" }, customer.secret);
  const [first, second] = await Promise.all([purchase.send(), purchase.send()]);
  expect([first.status, second.status].sort()).not.toContain(402);
  expect(await purchase.send()).toMatchObject({
    status: 200,
    body: { account: customer.account, balance: "0.45", repeated: true },
  });
  expect(await shop.books(customer.account)).toMatchObject({ balance: 450_000n, journal: 450_000n });
});

test("a client that knows no tokens pays in USDC", async () => {
  const buyer = await createBuyer(shop);
  const response = await buyer.fetch(`${shop.url}/topup`, post({ amount: "0.05" }));
  expect(await response.json()).toMatchObject({ asset: shop.localnet.asset, asset_amount: "50000" });
});

test("calls are paid in USDC alone", async () => {
  const response = await fetch(`${shop.url}/v1/chat/completions`, post({ model: "gpt-test", messages: [] }));
  expect(termsOf(response).accepts).toMatchObject([{ asset: shop.localnet.asset }]);
});
