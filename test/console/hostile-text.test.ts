import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openBrowser } from "../support/browser.ts";
import { openConsoleShop, visit } from "./open-console-page.ts";

const SCRIPT = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>';
const MODEL = `"><svg onload=window.owned=1>`;
const MODELS = `
models:
  ${JSON.stringify(MODEL)}: { upstream: default, model: upstream-model, maxOutput: 1000, price: "$0.01" }
defaultModel: ${JSON.stringify(MODEL)}
`;

let shop: KeyedShop;
let browser: Browser;
beforeAll(async () => {
  [shop, browser] = await Promise.all([openConsoleShop({ models: MODELS }), openBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await shop.close();
});

test("labels and model names are only ever text, on every screen", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  const account = `wallet:${visitor.address}`;
  await shop.gateway.ledger.createAccount(account, SCRIPT);
  await shop.gateway.ledger.creditAccount(account, 1_000_000n, SCRIPT);
  await visitor.signIn();
  await visitor.go("Keys");
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByLabel("Label").fill(SCRIPT);
  await page.getByText("Models: all").click();
  await page.getByLabel(MODEL).check();
  await page.getByRole("button", { name: "Create key" }).click();
  const secret = await page.getByRole("region", { name: "Secret" }).locator("pre").textContent();
  await page.getByRole("button", { name: "I have copied it" }).click();
  await page.getByRole("rowheader", { name: SCRIPT }).waitFor();
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: SCRIPT }] }),
  });
  expect(answer.status).toBe(200);
  await visitor.go("Usage");
  await page.getByRole("cell", { name: MODEL }).waitFor();
  await visitor.go("Overview");
  await page.getByText("As a table").nth(1).click();
  await page.getByRole("rowheader", { name: MODEL }).waitFor();
  for (const screen of ["Top up", "Provider keys", "Alerts"]) await visitor.go(screen);
  expect(await page.evaluate("window.owned")).toBeUndefined();
  expect(visitor.faults).toEqual([]);
  expect(visitor.strangers).toEqual([]);
  await visitor.close();
});

test("a label cannot break a header or a line of CSV", async () => {
  const visitor = await visit(browser, shop);
  const { page } = visitor;
  await visitor.signIn();
  const session: { csrf_token: string } = JSON.parse(
    String(await page.evaluate("fetch('/auth/session').then((answer) => answer.text())")),
  );
  const create = (label: string) =>
    page.evaluate(
      ([csrf, text]) =>
        fetch("/account/keys", {
          method: "POST",
          headers: { "content-type": "application/json", "x-csrf-token": csrf ?? "" },
          body: JSON.stringify({ label: text }),
        }).then((answer) => answer.status),
      [session.csrf_token, label],
    );
  expect(await create("a\r\nSet-Cookie: owned=1")).toBe(400);
  expect(await create("a\u0000b")).toBe(400);
  expect(await create("a\u2028b")).toBe(201);
  expect(await create('=1+1","x')).toBe(201);
  await visitor.close();
});
