import { generateKeyPairSigner } from "@solana/kit";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { injectWallet, type TestWallet } from "../support/test-wallet.ts";
import { letSessionLapse, openConsoleShop, type Visitor, visit, WALLET_NAME } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop(), openBrowser()]);
});
afterEach(() => shop.facilitator.clear());
afterAll(async () => {
  await browser.close();
  await shop.close();
});

const HAS_NO_ANSWER = "A top-up of $1.00 was signed and has no answer yet.";

async function atTopUp(usdc: bigint): Promise<Visitor> {
  const visitor = await visit(browser, shop, { usdc });
  await visitor.signIn();
  await visitor.go("Top up");
  return visitor;
}

async function pay(page: Page): Promise<void> {
  await page.getByLabel("Amount (USD)").fill("1");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
}

async function signOut(page: Page): Promise<void> {
  await page.locator("summary", { hasText: "Account" }).click();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("button", { name: WALLET_NAME }).waitFor();
}

function signed({ asked }: TestWallet): number {
  return asked.filter(({ what }) => what === "transaction").length;
}

test("a second person's top-up in the same browser leaves the first one's to be finished", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page, wallet, signer } = visitor;
  const settle = shop.facilitator.hold("settle");
  await pay(page);
  await settle.arrived;
  await page.reload();
  await page.getByText(HAS_NO_ANSWER).waitFor();
  settle.release();
  await signOut(page);

  const second = await generateKeyPairSigner();
  await shop.localnet.fund(second.address, 5_000_000n);
  await wallet.switchTo(second);
  await page.getByRole("button", { name: WALLET_NAME }).click();
  await page.getByRole("button", { name: "Pay with your wallet" }).waitFor();
  expect(await page.getByText(HAS_NO_ANSWER).count()).toBe(0);
  await pay(page);
  await page.getByText("Credited $1.00.").waitFor();
  await signOut(page);

  await wallet.switchTo(signer);
  await page.getByRole("button", { name: WALLET_NAME }).click();
  await page.getByText(HAS_NO_ANSWER).waitFor();
  await page.getByRole("button", { name: "Finish that top-up" }).click();
  await page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(signed(wallet)).toBe(2);
  expect(shop.localnet.tokenBalance(signer.address)).toBe(4_000_000n);
  expect(shop.localnet.tokenBalance(second.address)).toBe(4_000_000n);
  await visitor.close();
});

test("another tab signs no second payment, and its failure does not take the first one away", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page, wallet, signer } = visitor;
  const tab = await page.context().newPage();
  const tabsWallet = await injectWallet(tab, WALLET_NAME, signer);
  await tab.goto(page.url());
  await tab.getByLabel("Amount (USD)").fill("1");

  const settle = shop.facilitator.hold("settle");
  await pay(page);
  await settle.arrived;
  await tab.getByRole("button", { name: "Pay with your wallet" }).click();
  await tab.getByRole("alert").getByText("finish it first").waitFor();
  expect(signed(tabsWallet)).toBe(0);
  await page.reload();
  await page.getByText(HAS_NO_ANSWER).waitFor();
  settle.release();
  await page.getByRole("button", { name: "Finish that top-up" }).click();
  await page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(signed(wallet)).toBe(1);
  expect(shop.localnet.tokenBalance(signer.address)).toBe(4_000_000n);
  await visitor.close();
});

/** Two tabs have asked the wallet: the visitor's payment is being settled, `tab`'s is not signed yet. */
async function besideAnotherTab() {
  const visitor = await atTopUp(5_000_000n);
  const { page, signer } = visitor;
  const tab = await page.context().newPage();
  const tabsWallet = await injectWallet(tab, WALLET_NAME, signer);
  await tab.goto(page.url());
  const asks = tabsWallet.hold();
  await pay(tab);
  await asks.arrived;
  const settle = shop.facilitator.hold("settle");
  await pay(page);
  await settle.arrived;
  return { visitor, tab, tabsWallet, asks, settle, stored: `farebox-unfinished-topup:${signer.address}` };
}

test("a payment that is signed while another tab's is under way is not sent, however late that one's entry is seen", async () => {
  const { visitor, tab, tabsWallet, asks, settle, stored } = await besideAnotherTab();
  // Tabs are processes of their own, which see each other's storage a moment late: here as late as can be.
  await tab.evaluate((name) => {
    const storage = Reflect.get(globalThis, "localStorage");
    const read = storage.getItem.bind(storage);
    Object.getPrototypeOf(storage).getItem = (asked: string) => (asked === name ? null : read(asked));
  }, stored);
  asks.release();
  await tab.getByRole("alert").getByText("This one was not sent.").waitFor();
  settle.release();
  await visitor.page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(signed(tabsWallet)).toBe(1);
  expect(shop.localnet.tokenBalance(visitor.signer.address)).toBe(4_000_000n);

  // The other's has ended: this one may pay now.
  await pay(tab);
  await tab.getByText("Credited $1.00. Available now: $2.00.").waitFor();
  expect(shop.localnet.tokenBalance(visitor.signer.address)).toBe(3_000_000n);
  await visitor.close();
});

test("a payment that is signed after another tab was closed with its own under way does not take that one's place", async () => {
  const { visitor, tab, tabsWallet, asks, settle, stored } = await besideAnotherTab();
  await tab.waitForFunction((name) => Reflect.get(globalThis, "localStorage").getItem(name), stored);
  await visitor.page.close();
  asks.release();
  await tab.getByRole("alert").getByText("This one was not sent.").waitFor();
  settle.release();
  await tab.reload();
  await tab.getByRole("button", { name: "Finish that top-up" }).click();
  await tab.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  expect(signed(tabsWallet)).toBe(1);
  expect(shop.localnet.tokenBalance(visitor.signer.address)).toBe(4_000_000n);
  await visitor.close();
});

test("a payment that nobody answers for hides the form for an hour, not for ever", async () => {
  const visitor = await atTopUp(5_000_000n);
  const { page } = visitor;
  const settle = shop.facilitator.hold("settle");
  await pay(page);
  await settle.arrived;
  await page.reload();
  await page.getByText(HAS_NO_ANSWER).waitFor();
  expect(await page.getByRole("button", { name: "Let it go" }).count()).toBe(0);
  await page.clock.setFixedTime(Date.now() + 3_700_000);
  await page.reload();
  await page.getByRole("button", { name: "Let it go" }).click();
  await page.getByRole("button", { name: "Pay with your wallet" }).waitFor();
  settle.release();
  await visitor.close();
});

test("who reads for a quarter of an hour before paying still pays at once", async () => {
  const visitor = await atTopUp(5_000_000n);
  await letSessionLapse(visitor);
  await pay(visitor.page);
  await visitor.page.getByText("Credited $1.00. Available now: $1.00.").waitFor();
  await visitor.close();
});

test("a wallet that is set to another network is asked to sign nothing", async () => {
  const visitor = await visit(browser, shop, { usdc: 5_000_000n, chains: ["solana:devnet"] });
  await visitor.signIn();
  await visitor.go("Top up");
  await pay(visitor.page);
  await visitor.page.getByRole("alert").getByText("Test Wallet is not on solana:mainnet.").waitFor();
  expect(signed(visitor.wallet)).toBe(0);
  expect(shop.localnet.tokenBalance(visitor.address)).toBe(5_000_000n);
  await visitor.close();
});
