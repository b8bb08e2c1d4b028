import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { openConsoleShop, type Visitor, visit } from "./open-console-page.ts";

const PHONE = { width: 360, height: 740 };
const SCREENS = ["Overview", "Keys", "Usage", "Top up", "Provider keys", "Alerts"];

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

/** What axe finds serious or critical, as "rule: where". */
async function violations(page: Page): Promise<readonly string[]> {
  // What the tool brings in is not the page's, and its policy would refuse it; so it comes as the browser's own.
  await page.evaluate(axe.source);
  const found: unknown = await page.evaluate(
    "axe.run().then(({ violations }) => JSON.stringify(violations))",
  );
  const all: { impact: string; id: string; nodes: { target: string[]; failureSummary: string }[] }[] =
    JSON.parse(String(found));
  return all
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`),
    );
}

/** How many pixels the page is wider than the window. */
function overflow(page: Page): Promise<number> {
  return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
}

/** Somebody with a balance, keys, and calls of which one cost nothing. */
async function customer(
  colorScheme: "light" | "dark",
  viewport = { width: 1200, height: 800 },
): Promise<Visitor> {
  const visitor = await visit(browser, shop, { usdc: 10_000_000n, context: { colorScheme, viewport } });
  const { ledger } = shop.gateway;
  const account = `wallet:${visitor.address}`;
  await ledger.createAccount(account, "");
  await ledger.creditAccount(account, 5_000_000n, "start");
  await shop.keyFor(account, { label: "unlimited" });
  const limited = await shop.keyFor(account, { label: "a key with rather a long label", limit: 10_000n });
  for (let count = 0; count < 2; count += 1) {
    const body = JSON.stringify({ model: "flat-test", messages: [{ role: "user", content: "Hi" }] });
    await fetch(`${shop.url}/v1/chat/completions`, { method: "POST", headers: limited.headers, body });
  }
  return visitor;
}

describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
  test("no screen has a serious violation", async () => {
    const visitor = await customer(colorScheme);
    const { page } = visitor;
    expect(await violations(page), "connect").toEqual([]);
    await visitor.signIn();
    for (const screen of SCREENS) {
      await visitor.go(screen);
      await page.waitForLoadState("networkidle");
      expect(await violations(page), screen).toEqual([]);
    }
    await visitor.close();
  });

  test("no dialog has a serious violation", async () => {
    const visitor = await customer(colorScheme);
    const { page } = visitor;
    await visitor.signIn();
    await visitor.go("Keys");
    for (const [button, dialog] of [
      ["Create a key", "Create a key"],
      ["Edit unlimited", "Edit key"],
      ["Rotate unlimited", "Rotate unlimited"],
      ["Revoke unlimited", "Revoke unlimited"],
    ] as const) {
      await page.getByRole("button", { name: button }).click();
      await page.getByRole("dialog", { name: dialog }).waitFor();
      expect(await violations(page), dialog).toEqual([]);
      await page.keyboard.press("Escape");
      await page.getByRole("dialog", { name: dialog }).waitFor({ state: "detached" });
      // Focus is back where it came from.
      expect(
        await page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"),
      ).toBe(button);
    }
    await page.getByRole("button", { name: "Rotate unlimited" }).click();
    await page.getByRole("button", { name: "Rotate key" }).click();
    await page.getByRole("dialog", { name: "Your new key" }).waitFor();
    expect(await violations(page), "secret").toEqual([]);
    await visitor.close();
  });
});

test("no screen is wider than a phone", async () => {
  const visitor = await customer("light", PHONE);
  const { page } = visitor;
  expect(await overflow(page), "connect").toBe(0);
  await visitor.signIn();
  for (const screen of SCREENS) {
    await visitor.go(screen);
    await page.waitForLoadState("networkidle");
    expect(await overflow(page), screen).toBe(0);
  }
  await visitor.close();
});

test("the keyboard alone signs in, makes a key and goes from screen to screen", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  const press = async (name: string) => {
    const element = page.getByRole("button", { name }).or(page.getByRole("link", { name, exact: true }));
    for (let count = 0; count < 40; count += 1) {
      await page.keyboard.press("Tab");
      if (await element.evaluate((found) => found.matches(":focus"))) return page.keyboard.press("Enter");
    }
    throw new Error(`${name} is not reached by Tab`);
  };
  await press("Test Wallet");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await press("Keys");
  await page.getByRole("heading", { name: "Keys", level: 1 }).waitFor();
  await page.getByText("You have no keys yet.").waitFor();
  await press("Create a key");
  await page.getByLabel("Label").focus();
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Your new key" }).waitFor();
  await press("I have copied it");
  await page.getByRole("rowheader", { name: "typed" }).waitFor();
  await visitor.close();
});
