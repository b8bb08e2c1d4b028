import { generateKeyPairSigner } from "@solana/kit";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { letSessionLapse, openConsoleShop, visit, WALLET_NAME } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop(), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await shop.close();
});

test("who does not sign is told so, and may try again", async () => {
  const visitor = await visit(browser, shop);
  const { page, wallet } = visitor;
  wallet.decline();
  await page.getByRole("button", { name: WALLET_NAME }).click();
  await page.getByRole("alert").getByText("You did not sign the message.").waitFor();
  wallet.accept();
  await visitor.signIn();
  await visitor.close();
});

test("a payment that is not signed costs nothing, and a wallet without money is told before it signs", async () => {
  const visitor = await visit(browser, shop, { usdc: 1_000_000n });
  const { page, wallet } = visitor;
  await visitor.signIn();
  await visitor.go("Top up");
  await page.getByLabel("Amount (USD)").fill("3");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByRole("alert").getByText("This wallet holds 1.00 USD").waitFor();
  expect(wallet.asked.map(({ what }) => what)).toEqual(["message"]);
  wallet.decline();
  await page.getByLabel("Amount (USD)").fill("1");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByRole("alert").getByText("You did not sign the payment. Nothing was spent.").waitFor();
  expect(await shop.localnet.tokenBalance(visitor.address)).toBe(1_000_000n);
  await page.getByLabel("Amount (USD)").fill("1000000");
  await page.getByText("Write an amount from").waitFor();
  await visitor.close();
});

test("a session outlives a reload and a refresh, and ends everywhere at once", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  await visitor.signIn();
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await letSessionLapse(visitor);
  await visitor.go("Keys");
  await page.getByText("You have no keys yet.").waitFor();
  // Another device, as far as this one can tell.
  const elsewhere = await browser.newContext({ storageState: await page.context().storageState() });
  const other = await elsewhere.newPage();
  await other.goto(`${shop.url}/console`);
  await other.getByRole("heading", { name: "Overview" }).waitFor();
  await other.locator("summary", { hasText: "Account" }).click();
  await other.getByRole("button", { name: "Sign out everywhere" }).click();
  await other
    .getByRole("button", { name: WALLET_NAME })
    .or(other.getByText("No Solana wallet was found"))
    .waitFor();
  // Its screen may be gone before anybody has seen it.
  await page.getByRole("navigation").getByRole("link", { name: "Usage", exact: true }).click();
  await page.getByText("Your session has ended. Sign in again.").waitFor();
  await elsewhere.close();
  await visitor.close();
});

test("cookies are out of reach of the page's scripts", async () => {
  const visitor = await visit(browser, shop);
  await visitor.signIn();
  expect(await visitor.page.evaluate("document.cookie")).toBe("");
  const cookies = await visitor.page.context().cookies();
  expect(cookies.map(({ httpOnly, secure, sameSite }) => ({ httpOnly, secure, sameSite }))).toEqual([
    { httpOnly: true, secure: true, sameSite: "Lax" },
    { httpOnly: true, secure: true, sameSite: "Strict" },
  ]);
  expect(JSON.stringify(await visitor.page.evaluate("Object.values(localStorage)"))).not.toContain("eyJ");
  await visitor.close();
});

test("another account of the wallet is noticed, and cannot pay for the one that is signed in", async () => {
  const visitor = await visit(browser, shop);
  const { page, wallet } = visitor;
  await visitor.signIn();
  const other = await generateKeyPairSigner();
  await shop.localnet.fund(other.address, 5_000_000n);
  await wallet.switchTo(other);
  await page.getByText("Your wallet now shows").waitFor();
  await visitor.go("Top up");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByRole("alert").getByText("shows another account").waitFor();
  expect(await shop.localnet.tokenBalance(other.address)).toBe(5_000_000n);
  await visitor.close();
});
