import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { openConsoleShop, visit } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  const env = { FAREBOX_MASTER_KEY: Buffer.alloc(32, 3).toString("hex"), UPSTREAM_API_KEY: "sk-operator" };
  [shop, browser] = await Promise.all([openConsoleShop({ env }), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await shop.close();
});

test("alerts are chosen, kept and shown; the webhook's secret is shown once", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  const account = `wallet:${visitor.address}`;
  const { ledger } = shop.gateway;
  await ledger.createAccount(account, "");
  await ledger.creditAccount(account, 1_005_000n, "start");
  const key = await shop.keyFor(account, { label: "laptop" });
  await visitor.signIn();
  await visitor.go("Alerts");
  await page.getByText("There was nothing to tell.").waitFor();
  await page.getByLabel("Tell me when a call brings the balance below (USD)").fill("1.00");
  await page.getByLabel("all of its limit").check();
  await page.getByLabel("Webhook").fill("https://hooks.example.com/farebox");
  await page.getByRole("button", { name: "Save" }).click();
  const shown = page.getByRole("dialog", { name: "Your webhook's secret" });
  const secret = await shown.getByRole("region", { name: "Secret" }).locator("pre").textContent();
  expect(secret).toMatch(/^whsec_/);
  await shown.getByRole("button", { name: "I have copied it" }).click();

  await page.reload();
  await page.getByRole("button", { name: "New secret" }).waitFor();
  expect(await page.getByLabel("Tell me when a call brings the balance below (USD)").inputValue()).toBe(
    "1.00",
  );
  expect(await page.getByLabel("all of its limit").isChecked()).toBe(true);
  expect(await page.getByLabel("80 % of its limit").isChecked()).toBe(false);
  expect(await page.content()).not.toContain(secret);

  await page.getByLabel("Webhook").fill("https://127.0.0.1/inside");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Webhook").fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "New secret" }).waitFor({ state: "detached" });

  const body = JSON.stringify({ model: "flat-test", messages: [{ role: "user", content: "Hi" }] });
  await fetch(`${shop.url}/v1/chat/completions`, { method: "POST", headers: key.headers, body });
  await page.reload();
  await page.getByRole("cell", { name: "The balance is low" }).waitFor();
  await page.getByText("$0.995 (at $1.00)").waitFor();
  await visitor.close();
});

test("a provider key is stored, never shown, and deleted", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  await visitor.signIn();
  await visitor.go("Provider keys");
  await page.getByRole("button", { name: "Add a provider key" }).click();
  await page.getByLabel("Its key").fill("sk-their-own-0123456789");
  await page.getByRole("button", { name: "Store key" }).click();
  await page.getByRole("rowheader", { name: "default" }).waitFor();
  await page.getByText("…6789").waitFor();
  expect(await page.content()).not.toContain("sk-their-own");
  await page.getByRole("button", { name: "Delete the key at default" }).click();
  await page.getByRole("button", { name: "Delete this key" }).click();
  await page.getByText("You have stored none.").waitFor();
  await visitor.close();
});
