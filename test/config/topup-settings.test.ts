import { expect, test } from "vitest";
import { PLAY_DECIMALS, PLAY_MINT } from "../../localnet/token.ts";
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

const ROUTER = "So11111111111111111111111111111111111111112";
const OTHER = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
const PRICED = `usdPrice: "$0.0123", pricedAt: "2026-11-26T10:00:00+01:00"`;
const tokens = (...each: readonly string[]) => `topup: { tokens: [${each.map((one) => `{ ${one} }`)}] }\n`;
const token = (more = PRICED, mint = ROUTER, symbol = "ROUTER") =>
  `symbol: ${symbol}, mint: ${mint}, decimals: 9${more === "" ? "" : `, ${more}`}`;

test("a token: its price exactly, however fine, and the defaults of age and haircut", () => {
  const at = Date.parse("2026-11-26T09:00:00Z");
  expect(loaded(ONE_MODEL + tokens(token()), SOLANA_ENV).topUpTokens).toEqual([
    {
      ...{ symbol: "ROUTER", mint: ROUTER, decimals: 9, haircutBasisPoints: 500n, maxAgeMs: 86_400_000 },
      price: { numerator: 123n, denominator: 10_000n, at },
    },
  ]);
  const fine = token(`usdPrice: "0.000000000000000001", pricedAt: "2026-11-26T10:00:00Z", haircut: "0.25%"`);
  expect(loaded(ONE_MODEL + tokens(fine), SOLANA_ENV).topUpTokens).toMatchObject([
    { price: { numerator: 1n, denominator: 10n ** 18n }, haircutBasisPoints: 25n },
  ]);
});

test("without a price a token is one that is not offered", () => {
  const [found] = loaded(ONE_MODEL + tokens(token("maxAgeHours: 2")), SOLANA_ENV).topUpTokens;
  expect(found).toMatchObject({ price: undefined, maxAgeMs: 7_200_000 });
});

test("local mode has a play token, whose mint is the local chain's; named ones take its place", () => {
  const [play, ...others] = loaded(LOCAL, {}).topUpTokens;
  expect(others).toEqual([]);
  expect(play).toMatchObject({ symbol: "PLAY", mint: PLAY_MINT, decimals: PLAY_DECIMALS });
  expect(loaded(LOCAL + tokens(token()), {}).topUpTokens).toMatchObject([{ symbol: "ROUTER" }]);
  expect(loaded(`${LOCAL}topup: { tokens: [] }\n`, {}).topUpTokens).toEqual([]);
});

test.each(["topup: null", "tiers: [x402]"])("%s: no tokens either", (yaml) => {
  expect(loaded(LOCAL + yaml, {}).topUpTokens).toEqual([]);
});

const USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const AT = `pricedAt: "2026-11-26T10:00:00Z"`;

test.each<[string, readonly string[], string]>([
  ["USDC", [token(PRICED, USDC_MINT)], "topup.tokens[0].mint: is USDC, which is always accepted"],
  ["USDC's name", [token(PRICED, ROUTER, "usdc")], "topup.tokens[0].symbol: is USDC's"],
  ["one mint twice", [token(), token(PRICED, ROUTER, "B")], "topup.tokens[1].mint: is named twice"],
  ["one name twice", [token(), token(PRICED, OTHER)], "topup.tokens[1].symbol: is named twice"],
  [
    "no address",
    [token(PRICED, "abc")],
    "topup.tokens[0].mint: is not a Solana address (base58 of 32 bytes)",
  ],
  [
    "19 decimals",
    [token().replace("decimals: 9", "decimals: 19")],
    "topup.tokens[0].decimals: write a whole number from 0 to 18",
  ],
  [
    "a price of nothing",
    [token(`usdPrice: "$0.00", ${AT}`)],
    'topup.tokens[0].usdPrice: write a price above 0 such as "$0.0123" (at most 18 decimals)',
  ],
  [
    "a price below nothing",
    [token(`usdPrice: "-1", ${AT}`)],
    'topup.tokens[0].usdPrice: write a price above 0 such as "$0.0123" (at most 18 decimals)',
  ],
  [
    "a price that is a float",
    [token(`usdPrice: 0.0123, ${AT}`)],
    'topup.tokens[0].usdPrice: write a price as a string, such as "$0.0123"',
  ],
  [
    "a price without its time",
    [token(`usdPrice: "$1"`)],
    "topup.tokens[0].pricedAt: is missing: nobody could tell how old usdPrice is",
  ],
  ["a time without its price", [token(AT)], "topup.tokens[0].usdPrice: is missing beside pricedAt"],
  [
    "a time without its zone",
    [token(`usdPrice: "$1", pricedAt: "2026-11-26T10:00:00"`)],
    'topup.tokens[0].pricedAt: write a time with its zone, such as "2026-11-26T10:00:00Z"',
  ],
  [
    "no time at all",
    [token(`usdPrice: "$1", pricedAt: "2026-13-26T10:00:00Z"`)],
    'topup.tokens[0].pricedAt: write a time with its zone, such as "2026-11-26T10:00:00Z"',
  ],
  [
    "an age of nothing",
    [token(`${PRICED}, maxAgeHours: 0`)],
    "topup.tokens[0].maxAgeHours: write a whole number from 1 to 8760",
  ],
  ["a haircut of all", [token(`${PRICED}, haircut: "91%"`)], "topup.tokens[0].haircut: must be at most 90%"],
  [
    "a haircut in dollars",
    [token(`${PRICED}, haircut: "$1"`)],
    'topup.tokens[0].haircut: write a share such as "5%" (at most 2 decimals)',
  ],
  [
    "a symbol that is markup",
    [token(PRICED, ROUTER, '"<b>"')],
    "topup.tokens[0].symbol: a symbol has 1 to 16 letters and digits",
  ],
  ["a field that nobody knows", [token(`${PRICED}, fee: 1`)], "topup.tokens[0].fee: unknown setting"],
])("%s", (_name, each, problem) => {
  expect(problems(ONE_MODEL + tokens(...each), SOLANA_ENV)).toEqual([problem]);
});

test("four tokens are too many for a header", () => {
  const four = Array.from({ length: 4 }, (_, index) => token(PRICED, ROUTER, `T${index}`));
  expect(problems(ONE_MODEL + tokens(...four), SOLANA_ENV)).toEqual(["topup.tokens: at most 3 tokens"]);
});
