import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { amountIn } from "../../server/payment/asset-offers.ts";
import { createTokenBuyer, post, termsOf } from "../support/buyer.ts";
import { order, type Purchase } from "./credit-shop.ts";
import { expectTokenBooksClosed, hoursAgo, openTokenShop, type TokenShop, yamlOf } from "./token-shop.ts";

const MINUTE_MS = 60_000;

let shop: TokenShop;
beforeAll(async () => {
  shop = await openTokenShop();
});
afterEach(async () => {
  vi.useRealTimers();
  await expectTokenBooksClosed(shop);
});
afterAll(() => shop.close());

const body = { amount: "0.45" };
const REFUSED = { status: 402, code: "token_not_accepted" };

async function offered(): Promise<unknown[]> {
  const response = await fetch(`${shop.url}/topup`, post(body));
  return termsOf(response).accepts.map(({ asset }) => asset);
}

async function signed(): Promise<Purchase> {
  return order(shop, await createTokenBuyer(shop, shop.play.mint), "/topup", body);
}

/** Refused before anybody is asked, and nothing is recorded of it. */
async function expectRefused(purchase: Purchase, refusal: object): Promise<void> {
  const { settle, verify } = shop.facilitator.calls;
  const answer = await purchase.send();
  expect(answer).toMatchObject(refusal);
  expect(shop.facilitator.calls).toMatchObject({ settle, verify });
  expect(await shop.gateway.ledger.payment(purchase.id)).toBeUndefined();
  expect((await shop.books(purchase.account)).balance).toBe(0n);
}

describe("a price that is no price", () => {
  test.each<[string, Partial<TokenShop["play"]>, string]>([
    ["is missing", { usdPrice: undefined, pricedAt: undefined }, "price_missing"],
    ["is of the future", { pricedAt: hoursAgo(-1) }, "price_in_future"],
    ["is as old as it may get", { pricedAt: hoursAgo(24) }, "price_stale"],
    ["is older than the token's own age", { pricedAt: hoursAgo(3), maxAgeHours: 2 }, "price_stale"],
  ])(
    "%s: the token is not offered, and a payment for earlier terms is refused",
    async (_name, change, why) => {
      const good = yamlOf([shop.classic, shop.play]);
      const purchase = await signed();
      await shop.restart(yamlOf([shop.classic, { ...shop.play, ...change }]));
      try {
        expect(await offered()).toEqual([shop.localnet.asset, shop.classic.mint]);
        await expectRefused(purchase, REFUSED);
        const [, listed] = shop.gateway.topUpTokens();
        expect(listed).toMatchObject({ symbol: "PLAY", offered: false, reason: why });
      } finally {
        await shop.restart(good);
      }
      // Nothing was lost: at the old price again, the same payment is good.
      expect(await purchase.send()).toMatchObject({ status: 200, body: { balance: "0.45" } });
    },
  );

  test("goes stale while the gateway runs, between the 402 and the payment", async () => {
    const good = yamlOf([shop.classic, shop.play]);
    const pricedAt = new Date(Date.now() - 60 * MINUTE_MS + MINUTE_MS).toISOString();
    await shop.restart(yamlOf([shop.classic, { ...shop.play, pricedAt, maxAgeHours: 1 }]));
    expect(await offered()).toContain(shop.play.mint);
    const [late, inTime] = [await signed(), await signed()];
    expect(await inTime.send()).toMatchObject({ status: 200 });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * MINUTE_MS });
    await expectRefused(late, REFUSED);
    expect(await offered()).toEqual([shop.localnet.asset, shop.classic.mint]);
    // What was credited before is answered all the same.
    expect(await inTime.send()).toMatchObject({ status: 200, body: { repeated: true } });
    vi.useRealTimers();
    await shop.restart(good);
  });

  test("another one, after the 402: the old amount is refused", async () => {
    const purchase = await signed();
    await shop.restart(yamlOf([shop.classic, { ...shop.play, usdPrice: "$0.0124" }]));
    await expectRefused(purchase, { status: 402, code: "payment_mismatch" });
    await shop.restart(yamlOf([shop.classic]));
    await expectRefused(purchase, { status: 402, code: "payment_mismatch" });
    await shop.restart(yamlOf([shop.classic, shop.play]));
  });
});

test("a wrong mint stops the start, by the setting's name, and leaves nothing open", async () => {
  const wrong = yamlOf([shop.classic, { ...shop.play, decimals: 6 }]);
  const before = shop.config;
  await expect(shop.restart(wrong)).rejects.toThrow("topup.tokens[1].mint: has 9 decimals, not 6");
  shop.config = before;
  await shop.restart();
  expect(await offered()).toContain(shop.play.mint);
});

test("what is public of the tokens", () => {
  const { classic, play } = shop;
  const facts = { offered: true, reason: null };
  expect(shop.gateway.topUpTokens()).toEqual([
    {
      ...{ symbol: "CLASSIC", mint: classic.mint, decimals: 6, usd_price: "0.5", haircut_percent: "10" },
      ...{ priced_at: classic.pricedAt, price_ends_at: expect.any(String), ...facts },
    },
    {
      ...{ symbol: "PLAY", mint: play.mint, decimals: 9, usd_price: "0.0125", haircut_percent: "5" },
      ...{ priced_at: play.pricedAt, price_ends_at: expect.any(String), ...facts },
    },
  ]);
});

describe("the amount", () => {
  const price = fc.record({
    numerator: fc.bigInt({ min: 1n, max: 10n ** 20n }),
    decimals: fc.integer({ min: 0, max: 18 }),
  });

  test("is worth at least the dollars at the price less the haircut, and one unit less is not", () => {
    const haircut = fc.bigInt({ min: 0n, max: 9_000n });
    const usd = fc.bigInt({ min: 1n, max: 10n ** 15n });
    const property = fc.property(
      price,
      haircut,
      usd,
      fc.integer({ min: 0, max: 18 }),
      (of, cut, dollars, digits) => {
        const token = {
          ...{ symbol: "X", mint: "x", decimals: digits, maxAgeMs: 1, haircutBasisPoints: cut },
          price: { numerator: of.numerator, denominator: 10n ** BigInt(of.decimals), at: 0 },
        };
        /** Both sides of: units / 10^decimals x price x (1 - haircut) >= dollars / 10^6. */
        const covers = (units: bigint): boolean =>
          units * of.numerator * (10_000n - cut) * 1_000_000n >=
          dollars * 10n ** BigInt(digits) * 10n ** BigInt(of.decimals) * 10_000n;
        const amount = amountIn(token, dollars);
        if (amount === undefined) return !covers(2n ** 64n - 1n);
        return amount >= 1n && covers(amount) && !covers(amount - 1n);
      },
    );
    fc.assert(property, { numRuns: 2_000 });
  });

  test("is none where the chain knows no such amount", () => {
    const token = {
      ...{ symbol: "X", mint: "x", decimals: 18, maxAgeMs: 1, haircutBasisPoints: 0n },
      price: { numerator: 1n, denominator: 10n ** 18n, at: 0 },
    };
    expect(amountIn(token, 1_000_000n)).toBeUndefined();
    expect(amountIn({ ...token, price: undefined }, 1n)).toBeUndefined();
  });
});
