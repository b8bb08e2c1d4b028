import OpenAI from "openai";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { openConsoleShop, visit } from "./open-console-page.ts";

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop(), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await shop.close();
});

const SHOWN_ONCE = "Copy it now: it is shown this once.";

test("a person signs in, tops up, makes a key, uses it, rotates it and revokes it", async () => {
  const visitor = await visit(browser, shop, { usdc: 5_000_000n });
  const { page, wallet } = visitor;
  const account = `wallet:${visitor.address}`;
  await visitor.signIn();
  expect(wallet.asked.map(({ what }) => what)).toEqual(["message"]);
  expect(wallet.asked[0]?.bytes.toString("utf8")).toContain("This moves no money.");

  await visitor.go("Top up");
  await page.getByText("Nothing was paid in yet.").waitFor();
  await page.getByLabel("Amount (USD)").fill("2.50");
  await page.getByRole("button", { name: "Pay with your wallet" }).click();
  await page.getByText("Credited $2.50. Available now: $2.50.").waitFor();
  expect(wallet.asked.map(({ what }) => what)).toEqual(["message", "transaction"]);
  expect(await shop.localnet.tokenBalance(visitor.address)).toBe(2_500_000n);
  expect(await shop.books(account)).toEqual({ balance: 2_500_000n, held: 0n, journal: 2_500_000n });
  await page.getByRole("region", { name: "Top-ups" }).getByText("$2.50").waitFor();

  await visitor.go("Keys");
  await page.getByText("You have no keys yet.").waitFor();
  await page.getByRole("button", { name: "Create a key" }).click();
  const form = page.getByRole("dialog", { name: "Create a key" });
  await form.getByRole("button", { name: "Create key" }).click();
  await form.getByText("Give it a name.").waitFor();
  await form.getByLabel("Label").fill("laptop");
  await form.getByLabel("Spend limit (USD)").fill("1");
  await form.getByLabel("Limit starts again").selectOption("daily");
  await form.getByLabel("Embeddings").uncheck();
  await form.getByRole("button", { name: "Create key" }).click();
  const shown = page.getByRole("dialog", { name: "Your new key" });
  await shown.getByText(SHOWN_ONCE).waitFor();
  const secret = await shown.getByRole("region", { name: "Secret" }).locator("pre").textContent();
  expect(secret).toMatch(/^sk_farebox_\w{38}$/);
  expect(await shown.getByRole("region", { name: "Line for .env" }).locator("pre").textContent()).toBe(
    `FAREBOX_API_KEY=${secret}`,
  );
  // It is a secret: a slip of the finger must not take it away.
  await page.keyboard.press("Escape");
  await shown.getByRole("button", { name: "I have copied it" }).click();
  await page.getByRole("rowheader", { name: "laptop" }).waitFor();
  expect(await page.content()).not.toContain(secret);

  const client = new OpenAI({ baseURL: `${shop.url}/v1`, apiKey: secret, maxRetries: 0 });
  const ask = () =>
    client.chat.completions.create({ model: "flat-test", messages: [{ role: "user", content: "Hi" }] });
  expect((await ask()).choices[0]?.message.content).toBe("Hello there!");

  await visitor.go("Usage");
  const call = page.getByRole("row").filter({ hasText: "flat-test" });
  await call.getByText("laptop").waitFor();
  await call.getByText("$0.01").last().waitFor();
  await visitor.go("Overview");
  await page.getByText("$2.49").first().waitFor();
  await page.getByText("1 call", { exact: true }).waitFor();

  await visitor.go("Keys");
  await page.getByRole("progressbar", { name: "laptop has spent $0.01 of $1.00 a day" }).waitFor();
  await page.getByRole("button", { name: "Rotate laptop" }).click();
  const rotate = page.getByRole("dialog", { name: "Rotate laptop" });
  await rotate.getByLabel("The old secret").selectOption("now");
  await rotate.getByRole("button", { name: "Rotate key" }).click();
  const rotated = await shown.getByRole("region", { name: "Secret" }).locator("pre").textContent();
  expect(rotated).not.toBe(secret);
  await shown.getByRole("button", { name: "I have copied it" }).click();
  await expect(ask()).rejects.toMatchObject({ status: 401 });
  client.apiKey = rotated;
  await ask();

  await page.getByRole("button", { name: "Revoke laptop" }).click();
  const revoke = page.getByRole("dialog", { name: "Revoke laptop" });
  expect(await revoke.getByRole("button", { name: "Revoke for ever" }).isDisabled()).toBe(true);
  await revoke.getByLabel("Type “laptop” to confirm").fill("laptop");
  await revoke.getByRole("button", { name: "Revoke for ever" }).click();
  await page.getByText("No key works any more.").waitFor();
  await expect(ask()).rejects.toMatchObject({ status: 401 });
  await page.getByLabel("Show revoked and expired keys").check();
  await page.getByRole("row").filter({ hasText: "laptop" }).getByText("revoked").waitFor();

  expect(visitor.strangers).toEqual([]);
  expect(visitor.faults).toEqual([]);
  await visitor.close();
});
