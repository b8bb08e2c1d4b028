import { expect, test } from "vitest";
import { loaded, ONE_MODEL, problems, SOLANA_ENV } from "./settings.ts";

const LOCAL = "models: { gpt: { upstream: default } }\n";
const own = (route: string) => `routes: { "${route}": { upstream: default, price: "$1" } }\n`;

const boundsOf = (yaml: string, env = SOLANA_ENV) => loaded(ONE_MODEL + yaml, env).topUp;
const creditRoutes = (yaml: string, env = SOLANA_ENV) =>
  loaded(ONE_MODEL + yaml, env)
    .routes.filter(({ target }) => target.kind === "credit")
    .map(({ method, path, price, tiers, settle }) => [method, path, price, tiers, settle]);

test("by default a dollar to a thousand, for wallets only, settled first", () => {
  expect(boundsOf("")).toEqual({ least: 1_000_000n, most: 1_000_000_000n, usual: 1_000_000n });
  expect(creditRoutes("")).toEqual([
    ["POST", "/keys", 1_000_000n, ["x402"], "upfront"],
    ["POST", "/topup", 1_000_000n, ["x402"], "upfront"],
  ]);
});

test("in local mode from a cent", () => {
  expect(loaded(LOCAL, {}).topUp).toEqual({ least: 10_000n, most: 1_000_000_000n, usual: 1_000_000n });
});

test.each([
  ["topup: { min: $5.00 }", { least: 5_000_000n, most: 1_000_000_000n, usual: 5_000_000n }],
  ["topup: { min: $0.10, max: $0.50 }", { least: 100_000n, most: 500_000n, usual: 500_000n }],
  ["topup: { default: $20 }", { least: 1_000_000n, most: 1_000_000_000n, usual: 20_000_000n }],
])("%s", (yaml, bounds) => {
  expect(boundsOf(yaml)).toEqual(bounds);
});

test.each([
  ["topup: null", "switched off"],
  ["tiers: [x402]", "no route takes keys"],
])("%s: none is sold", (yaml) => {
  expect(boundsOf(yaml)).toBeUndefined();
  expect(creditRoutes(yaml)).toEqual([]);
});

test("one route that takes keys is enough", () => {
  const route = 'routes: { "GET /a": { upstream: default, price: "$1", tiers: [key] } }\n';
  expect(creditRoutes(`tiers: [x402]\n${route}`)).toHaveLength(2);
});

test.each([
  ["topup: { min: $0 }", "topup.min: must be at least $0.000001"],
  ["topup: { min: $3, max: $2 }", "topup.max: is below topup.min, which is $3.00"],
  ["topup: { max: $0.50 }", "topup.max: is below topup.min, which is $1.00"],
  ["topup: { default: $0.50 }", "topup.default: is not between topup.min and topup.max"],
  ["topup: { max: $2, default: $3 }", "topup.default: is not between topup.min and topup.max"],
  ["topup: { min: 1 }", 'topup.min: write a price as a string, such as "$0.02"'],
  ["topup: { least: $1 }", "topup.least: unknown setting"],
  ["tiers: [x402]\ntopup: {}", "topup: sells credit for keys, but no route takes keys"],
  [own("POST /keys"), 'routes["POST /keys"]: is the same route as the built-in POST /keys'],
])("%j is refused", (yaml, reason) => {
  expect(problems(ONE_MODEL + yaml, SOLANA_ENV)).toEqual([reason]);
});

test("an own route may be where credit is not sold", () => {
  expect(loaded(`${ONE_MODEL}topup: null\n${own("POST /keys")}`, SOLANA_ENV).routes.at(-1)).toMatchObject({
    path: "/keys",
    target: { kind: "forward" },
  });
});

test("Coinbase's facilitator settles nothing below a tenth of a cent", () => {
  const { FACILITATOR_URL: _, ...env } = SOLANA_ENV;
  const cdp = { ...env, FACILITATOR_URL: "coinbase", CDP_API_KEY_ID: "id", CDP_API_KEY_SECRET: "secret" };
  expect(problems(`${ONE_MODEL}topup: { min: $0.0001 }`, cdp)).toEqual([
    "topup.min: must be at least $0.001",
  ]);
});
