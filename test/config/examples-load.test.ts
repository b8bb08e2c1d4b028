import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { expect, test } from "vitest";
import { configSchema } from "../../server/config-schema.ts";
import { load, loaded, MEMO_SECRET, SOLANA_ENV, WALLET } from "./settings.ts";

const root = new URL("../../", import.meta.url);
const yaml = readFileSync(fileURLToPath(new URL("farebox.example.yaml", root)), "utf8");
const dotenv = readFileSync(fileURLToPath(new URL(".env.example", root)), "utf8");

/** What an operator fills in. */
const FILLED_IN = {
  PAY_TO: WALLET,
  RPC_URL: SOLANA_ENV.RPC_URL,
  CDP_API_KEY_ID: "id",
  CDP_API_KEY_SECRET: "secret",
  FAREBOX_MEMO_SECRET: MEMO_SECRET,
  UPSTREAM_API_KEY: "key",
  REPORTS_API_KEY: "key",
};

function environment(text: string): Record<string, string> {
  return Object.fromEntries(Object.entries(parseEnv(text)).map(([key, value]) => [key, value ?? ""]));
}

test("the example environment as it stands is local mode", () => {
  expect(loaded(undefined, environment(dotenv)).network).toBe("local");
});

test("both examples together start a gateway on Solana once the secrets are filled in", () => {
  const config = loaded(yaml, { ...environment(dotenv), ...FILLED_IN });
  expect(config).toMatchObject({ network: "solana", facilitators: [{ url: "coinbase" }], payTo: WALLET });
  expect(config.routes.map(({ path }) => path)).toContain("/report/:id");
});

test("the example file holds no secret: without the variables it only says which are missing", () => {
  const result = load(yaml);
  const messages = "problems" in result ? result.problems.map(({ message }) => message) : [];
  expect(messages.length).toBeGreaterThan(0);
  for (const message of messages) expect(message).toMatch(/is not set|is missing/);
});

test("the example environment names every variable there is, and no other", () => {
  const named = [...dotenv.matchAll(/^(?:# )?([A-Z][A-Z_]+)=/gm)].map(([, name]) => name).sort();
  expect(named).toEqual(Object.keys(configSchema.shape.env.shape).concat("FAREBOX_CONFIG").sort());
});

test("the defaults the example file shows are the defaults", () => {
  const shown = loaded(yaml, { ...SOLANA_ENV, ...FILLED_IN });
  const bare = loaded("models: { openai/gpt-4o-mini: {} }", SOLANA_ENV);
  for (const key of [
    "payment",
    "verifyTimeoutMs",
    "settleTimeoutMs",
    "bodyLimitBytes",
    "drainMs",
    "keys",
    "ownKeys",
    "alerts",
    "flood",
    "topUp",
  ] as const) {
    expect(shown[key]).toEqual(bare[key]);
  }
  expect(shown.routes.slice(0, 9)).toEqual(bare.routes);
});
