import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop();
});
afterAll(() => shop.close());

const EXAMPLES = [
  ["curl", "sh", ["keyed.sh"]],
  ["TypeScript", process.execPath, ["--import", import.meta.resolve("tsx"), "keyed.ts"]],
  ["Python", "python3", ["keyed.py"]],
] as const;

async function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const child = spawn(command, args, {
    cwd: fileURLToPath(new URL("../../examples/", import.meta.url)),
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const [code] = await once(child, "close");
  return { code, output };
}

test.each(EXAMPLES)("the %s example makes a call and says what is left", async (_, command, args) => {
  // The limit allows more than the account has.
  const customer = await shop.customer(1_000_000n, { limit: 5_000_000n });
  const { code, output } = await run(command, args, {
    FAREBOX_URL: shop.url,
    FAREBOX_API_KEY: customer.secret,
    FAREBOX_MODEL: "gpt-test",
  });
  expect(output).toContain("Hello there!");
  expect(output).toContain("0.999993");
  expect(code).toBe(0);
  expect((await shop.usageOf(customer.account)).length).toBe(1);
});

test.each(EXAMPLES)("the %s example fails loudly on a bad key, and without one", async (_, command, args) => {
  const env = { FAREBOX_URL: shop.url, FAREBOX_MODEL: "gpt-test" };
  const bad = await run(command, args, { ...env, FAREBOX_API_KEY: "sk_farebox_nobody" });
  expect(bad.code).not.toBe(0);
  expect(bad.output).toContain("401");
  const none = await run(command, args, env);
  expect(none.code).not.toBe(0);
  expect(none.output).toContain("FAREBOX_API_KEY");
});
