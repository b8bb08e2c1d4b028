import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { hoursAgo, yamlOf } from "../topup/token-shop.ts";
import { openConsoleShop, type Visitor, visit } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop({ noGateway: true }), openBrowser()]);
  const price = { usdPrice: "$0.0125", pricedAt: hoursAgo(1), haircut: "5%" };
  await shop.restart(yamlOf([{ symbol: "PLAY", mint: shop.localnet.play, decimals: 9, ...price }]));
});
afterEach(() => shop.facilitator.clear());
afterAll(async () => {
  await browser.close();
  await shop.close();
});

async function atTopUp(usdc: bigint): Promise<Visitor> {
  const visitor = await visit(browser, shop, { usdc });
  await visitor.signIn();
  await visitor.go("Top up");
  return visitor;
}

test("a token is paid in at the price that was shown, and in no larger amount", async () => {
  const visitor = await atTopUp(0n);
  const { page, address } = visitor;
  await shop.localnet.fund(address, 200_000_000_000n, shop.localnet.play);
  await page.getByLabel("Amount (USD)").fill("1.00");
  await page.getByLabel("Pay with").selectOption("PLAY");
  await page.getByText("Taken at $0.0125 less 5 %").waitFor();
  await page.getByRole("button", { name: "See the price in PLAY" }).click();
  // $1 / ($0.0125 less 5 %), rounded up.
  await page.getByRole("button", { name: "Pay 84.210526316 PLAY" }).click();
  await page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(shop.localnet.tokenBalance(address, shop.localnet.play)).toBe(200_000_000_000n - 84_210_526_316n);
  expect(await shop.books(`wallet:${address}`)).toEqual({
    balance: 1_000_000n,
    held: 0n,
    journal: 1_000_000n,
  });
  expect(visitor.faults).toEqual([]);
  await visitor.close();
});

test("a payment whose answer is lost is sent again after a reload, and never signed twice", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page, wallet, address } = visitor;
  const settle = shop.facilitator.hold("settle");
  await page.getByLabel("Amount (USD)").fill("1.50");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByText("Settling on Solana…").waitFor();
  await settle.arrived;
  await page.reload();
  await page.getByText("A top-up of $1.50 was signed and has no answer yet.").waitFor();
  settle.release();
  await page.getByRole("button", { name: "Finish that top-up" }).click();
  await page.getByText("Credited $1.50. Available now: $1.50.").waitFor();
  expect(wallet.asked.filter(({ what }) => what === "transaction").length).toBe(1);
  expect(shop.localnet.tokenBalance(address)).toBe(3_500_000n);
  expect(await shop.books(`wallet:${address}`)).toEqual({
    balance: 1_500_000n,
    held: 0n,
    journal: 1_500_000n,
  });
  await page.reload();
  await page.getByRole("button", { name: "Pay with your wallet" }).waitFor();
  expect(await page.getByText("has no answer yet").count()).toBe(0);
  await visitor.close();
});

test("a facilitator that fails is told of, and the same payment is asked about again until it is settled", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page, wallet, address } = visitor;
  shop.facilitator.fail("settle", faults.dropAfter);
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByText("Credited $1.00. Available now: $1.00.").waitFor({ timeout: 90_000 });
  expect(wallet.asked.filter(({ what }) => what === "transaction").length).toBe(1);
  expect(shop.localnet.tokenBalance(address)).toBe(4_000_000n);
  await visitor.close();
});

test("a payment that is refused is said to be, and the next one is a new one", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page, address } = visitor;
  shop.facilitator.fail("verify", faults.reason("insufficient_funds"));
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByRole("alert").waitFor();
  expect(shop.localnet.tokenBalance(address)).toBe(5_000_000n);
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(shop.localnet.tokenBalance(address)).toBe(4_000_000n);
  await visitor.close();
});
