import { readFile } from "node:fs/promises";
import { generateKeyPairSigner } from "@solana/kit";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { injectWallet } from "../support/test-wallet.ts";
import { letSessionLapse, openConsoleShop, type Visitor, visit, WALLET_NAME } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop(), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await shop.close();
});

async function signedIn(): Promise<Visitor> {
  const visitor = await visit(browser, shop);
  await visitor.signIn();
  return visitor;
}

test("Escape, however often, does not take a secret away that is shown once", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  await visitor.go("Keys");
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByLabel("Label").fill("laptop");
  await page.getByRole("button", { name: "Create key" }).click();
  const shown = page.getByRole("dialog", { name: "Your new key" });
  await shown.waitFor();
  for (let press = 0; press < 4; press += 1) await page.keyboard.press("Escape");
  await page.evaluate("new Promise((resolve) => setTimeout(resolve))");
  expect(await shown.getByText("shown this once").isVisible()).toBe(true);
  await shown.getByRole("button", { name: "I have copied it" }).click();
  await page.getByRole("rowheader", { name: "laptop" }).waitFor();
  expect(await page.getByRole("dialog").count()).toBe(0);
  await visitor.close();
});

test("a dialog that was opened by key takes what is typed, blanks included, into its first field", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  await visitor.go("Keys");
  await page.getByRole("button", { name: "Create a key" }).press("Enter");
  await page.getByRole("dialog", { name: "Create a key" }).waitFor();
  await page.keyboard.type("made by keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "I have copied it" }).press("Enter");
  await page.getByRole("rowheader", { name: "made by keyboard" }).waitFor();
  await page.getByRole("button", { name: "Revoke" }).press("Enter");
  await page.getByRole("dialog", { name: "Revoke made by keyboard" }).waitFor();
  await page.keyboard.type("made by keyboard");
  await page.keyboard.press("Enter");
  await page.getByText("No key works any more.").waitFor();
  await visitor.close();
});

test("a key without chat is shown with a command that it may run", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  await visitor.go("Keys");
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByLabel("Label").fill("embedder");
  await page.getByLabel("Chat completions").uncheck();
  await page.getByRole("button", { name: "Create key" }).click();
  const command = await page.getByRole("region", { name: "Command to try it" }).locator("pre").textContent();
  const [, url = "", header = ""] = /^curl (\S+) -H '([^']+)'$/.exec(command ?? "") ?? [];
  const response = await fetch(url, { headers: { authorization: header.replace("Authorization: ", "") } });
  expect([response.status, await response.json()]).toMatchObject([200, { label: "embedder" }]);
  await visitor.close();
});

test.each([
  ["blanks that a page shows as one, and what turns text around", "night  shift\u202e", "night shift"],
  ["characters that show nothing", "night\u200b\u00ad shift", "night shift"],
  ["a non-breaking blank", "night\u00a0shift", "night shift"],
  ["nothing that shows", "\u200b \u3164", "sk_farebox_...LAST"],
])("a key whose label has %s can be revoked by whoever types what is seen", async (_, label, typed) => {
  const visitor = await signedIn();
  const { page, address } = visitor;
  const account = `wallet:${address}`;
  await shop.gateway.ledger.createAccount(account, "");
  const { secret, keyId } = await shop.keyFor(account, { label });
  await visitor.go("Keys");
  await page.getByRole("button", { name: "Revoke" }).click();
  const confirmation = page.getByLabel("to confirm");
  const button = page.getByRole("button", { name: "Revoke for ever" });
  await confirmation.fill(typed.slice(0, -1).replace("LAS", secret.slice(-4, -1)));
  expect(await button.isDisabled()).toBe(true);
  await confirmation.fill(typed.replace("LAST", secret.slice(-4)));
  await button.click();
  await page.getByText("No key works any more.").waitFor();
  expect(await shop.gateway.ledger.key(keyId)).toMatchObject({ status: "revoked" });
  await visitor.close();
});

test("a connection that drops while the session is refreshed does not sign anybody out", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  await letSessionLapse(visitor);
  await page.route("**/auth/refresh", (route) => route.abort());
  await visitor.go("Keys");
  await page.getByRole("alert").getByText("The service cannot be reached.").waitFor();
  await page.unroute("**/auth/refresh");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("You have no keys yet.").waitFor();
  await visitor.close();
});

test("usage is saved as CSV after a quarter of an hour too", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  await visitor.go("Usage");
  await page.getByText("No calls that fit.").waitFor();
  await letSessionLapse(visitor);
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  expect(file.suggestedFilename()).toBe("usage.csv");
  expect(await readFile(await file.path(), "utf8")).toMatch(/^id,at,tier,/);
  await visitor.close();
});

test("another account of the wallet is noticed after a reload too", async () => {
  const visitor = await signedIn();
  const { page, wallet } = visitor;
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  const other = await generateKeyPairSigner();
  await wallet.switchTo(other);
  await page.getByText("Your wallet now shows").waitFor();
  await visitor.close();
});

test("the same wallet signs in anew in another tab: this one goes on with that session", async () => {
  const visitor = await signedIn();
  const { page, signer, address } = visitor;
  await visitor.go("Keys");
  await page.getByText("You have no keys yet.").waitFor();
  // It has lasted its seven days; only who asks notices.
  await shop.gateway.ledger.endSessions(address);
  const tab = await page.context().newPage();
  await injectWallet(tab, WALLET_NAME, signer);
  await tab.goto(page.url());
  const heard = page.waitForResponse("**/auth/session");
  await tab.getByRole("button", { name: WALLET_NAME }).click();
  await tab.getByRole("heading", { name: "Keys" }).waitFor();
  await heard;
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByLabel("Label").fill("laptop");
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByRole("dialog", { name: "Your new key" }).or(page.getByRole("alert")).waitFor();
  expect(await page.getByRole("alert").allTextContents()).toEqual([]);
  await visitor.close();
});

test("what another tab does with the session shows in this one", async () => {
  const visitor = await signedIn();
  const { page } = visitor;
  const tab = await page.context().newPage();
  const second = await generateKeyPairSigner();
  await injectWallet(tab, WALLET_NAME, second);
  await tab.goto(page.url());
  await tab.locator("summary", { hasText: "Account" }).click();
  await tab.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByText("You signed out in another tab.").waitFor();
  await tab.getByRole("button", { name: WALLET_NAME }).click();
  await tab.getByRole("heading", { name: "Overview" }).waitFor();
  await page.locator("summary", { hasText: second.address }).waitFor();
  await visitor.close();
});
