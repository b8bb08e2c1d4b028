import type { Page } from "playwright-core";

/** Shows one screen with its data; `name` is the picture's. */
export interface Stop {
  readonly name: string;
  show(page: Page): Promise<void>;
  /** Leaves nothing open. */
  leave?(page: Page): Promise<void>;
}

/** Makes what the screens show: signs in, pays in, stores a provider key, and has a new key call the service. */
export async function makeData(page: Page, url: string): Promise<void> {
  await page.getByRole("button", { name: "Local wallet" }).click();
  await heading(page, "Overview");
  await go(page, "Top up");
  await page.getByRole("button", { name: "Get play USDC" }).click();
  await page.getByText("play USDC more").waitFor();
  for (const amount of ["5.00", "12.50"]) {
    await page.getByLabel("Amount (USD)").fill(amount);
    await page.getByRole("button", { name: "Pay with your wallet" }).click();
    await page.getByText(`Credited $${amount}`).waitFor();
  }
  await go(page, "Provider keys");
  await page.getByRole("button", { name: "Add a provider key" }).click();
  const form = page.getByRole("dialog", { name: "Add a provider key" });
  await form.getByLabel("Provider").selectOption("openai");
  await form.getByLabel("Its key").fill("sk-proj-0000000000000000000000004f2a");
  await form.getByRole("button", { name: "Store key" }).click();
  await page.getByRole("rowheader", { name: "openai" }).waitFor();
  await callWith(await createKey(page, "teammate-alice"), url);
}

async function createKey(page: Page, label: string): Promise<string> {
  await openKeyForm(page, label);
  await page.getByRole("button", { name: "Create key" }).click();
  const shown = page.getByRole("dialog", { name: "Your new key" });
  const secret = await shown.getByRole("region", { name: "Secret" }).locator("pre").textContent();
  await shown.getByRole("button", { name: "I have copied it" }).click();
  return secret ?? "";
}

async function openKeyForm(page: Page, label: string): Promise<void> {
  await go(page, "Keys");
  await page.getByRole("button", { name: "Create a key" }).click();
  const form = page.getByRole("dialog", { name: "Create a key" });
  await form.getByLabel("Label").fill(label);
  await form.getByLabel("Spend limit (USD)").fill("20");
  await form.getByLabel("Limit starts again").selectOption("monthly");
}

async function callWith(secret: string, url: string): Promise<void> {
  for (const model of ["gpt-oss:20b", "openai/gpt-4o-mini", "vllm-primary"]) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Say hello to the console." }] }),
    });
    if (!response.ok) throw new Error(`${model}: ${response.status} ${await response.text()}`);
    await response.text();
  }
}

/** Every screen of somebody who is signed in, in the order of the page. */
export const STOPS: readonly Stop[] = [
  {
    name: "overview",
    async show(page) {
      await go(page, "Overview");
      await page.getByRole("figure", { name: "Spent by key" }).waitFor();
      // The chart's code comes by itself, later than the numbers.
      await becomes(
        page,
        "[...document.querySelectorAll('canvas')].every((one) => one.style.display === 'block')",
      );
    },
  },
  {
    name: "keys",
    async show(page) {
      await go(page, "Keys");
      await page.getByLabel("Show revoked and expired keys").check();
      await page.getByRole("row").filter({ hasText: "ci-integration-tests" }).waitFor();
    },
  },
  {
    name: "create-key",
    show: (page) => openKeyForm(page, "production-2027"),
    leave: (page) => page.keyboard.press("Escape"),
  },
  {
    name: "new-key",
    async show(page) {
      await openKeyForm(page, "checkout-service");
      await page.getByRole("button", { name: "Create key" }).click();
      await page.getByRole("dialog", { name: "Your new key" }).waitFor();
    },
    leave: (page) => page.getByRole("button", { name: "I have copied it" }).click(),
  },
  {
    name: "revoke-key",
    async show(page) {
      await go(page, "Keys");
      await page.getByRole("button", { name: "Revoke staging" }).click();
      await page.getByLabel("Type “staging” to confirm").fill("staging");
    },
    leave: (page) => page.keyboard.press("Escape"),
  },
  {
    name: "usage",
    async show(page) {
      await go(page, "Usage");
      await page.getByRole("row").filter({ hasText: "production" }).first().waitFor();
    },
  },
  {
    name: "top-up",
    async show(page) {
      await go(page, "Top up");
      await page.getByRole("region", { name: "Top-ups" }).getByText("$12.50").waitFor();
    },
  },
  {
    name: "provider-keys",
    async show(page) {
      await go(page, "Provider keys");
      await page.getByRole("rowheader", { name: "openai" }).waitFor();
    },
  },
  {
    name: "alerts",
    async show(page) {
      await go(page, "Alerts");
      await page.getByText("Loading").first().waitFor({ state: "detached" });
    },
  },
];

async function go(page: Page, screen: string): Promise<void> {
  await page.getByRole("link", { name: screen, exact: true }).click();
  await heading(page, screen);
}

function heading(page: Page, name: string): Promise<void> {
  return page.getByRole("heading", { name, level: 1 }).waitFor();
}

const PATIENCE_MS = 15_000;

/** Waits, frame by frame, until an expression is true in the page. Its own way: the page's policy forbids what playwright evaluates. */
export async function becomes(page: Page, expression: string): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  while ((await page.evaluate(expression)) !== true) {
    if (Date.now() > until) throw new Error(`This did not become true: ${expression}`);
    await page.evaluate("new Promise(requestAnimationFrame)");
  }
}
