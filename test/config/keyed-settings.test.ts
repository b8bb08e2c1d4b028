import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { loaded, ONE_MODEL, problems, SOLANA_ENV } from "./settings.ts";

const SECRET = "planted-secret-of-at-least-32-characters";
const BYTES = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7));
const JWT =
  "jwt: { jwksUrl: https://id.example.com/jwks, issuer: https://id.example.com, audience: farebox }\n";

function model(settings: string) {
  return loaded(`models: { m: { ${settings} } }`, SOLANA_ENV).models[0];
}

test.each([
  ['input: "$0.15/1M", output: "$0.60/1M"', 150_000n, 600_000n],
  ['input: "0.15/1M", output: "5/1M"', 150_000n, 5_000_000n],
  ['input: "$0.00015/1K", output: "$0.0000006/1K"', 150n * 1_000n, 600n],
  ['input: "$0.000001/1M", output: "$0/1M"', 1n, 0n],
  ['input: "$0.000000001/1K"', 1n, 0n],
  ['input: "$0.1500000/1M"', 150_000n, 0n],
])("the token prices %s are exact", (settings, input, output) => {
  expect(model(settings)).toMatchObject({ pricing: { kind: "tokens", input, output }, imageTokens: 50_000 });
});

test("a model costs its endpoint's price, or one by the call", () => {
  expect(model("")).toMatchObject({ pricing: undefined });
  expect(model('price: "$0.01", imageTokens: 1200')).toMatchObject({
    pricing: { kind: "call", price: 10_000n },
    imageTokens: 1_200,
  });
  expect(loaded(undefined).models[0]).toMatchObject({ pricing: undefined, imageTokens: 50_000 });
});

const TOKEN_PRICE = 'write a price for a million or a thousand tokens: "$0.15/1M", "/1K"';
test.each([
  ["input: 0.15", 'input: write a price such as "$0.15/1M"'],
  ['input: "$0.15"', `input: ${TOKEN_PRICE}`],
  ['input: "$0.15/2M"', `input: ${TOKEN_PRICE}`],
  ['input: "-$0.15/1M"', `input: ${TOKEN_PRICE}`],
  ['input: "$1e3/1M"', `input: ${TOKEN_PRICE}`],
  ['input: "$0.0000001/1M"', "input: is finer than $0.000001 for a million tokens"],
  ['input: "$0.0000000001/1K"', "input: is finer than $0.000001 for a million tokens"],
  ['output: "$0.6/1M"', "input: is missing: output has a price"],
  ['input: "$0/1M"', "input: a price is at least $0.000001"],
  ['price: "$0"', "price: a price is at least $0.000001"],
  ['price: "$0.01", input: "$1/1M"', "price: stands beside input or output: write one or the other"],
  ['price: "$0.01", output: "$1/1M"', "price: stands beside input or output: write one or the other"],
  ["imageTokens: 0", "imageTokens: write a whole number from 1 to 10000000"],
])("the model price { %s } is refused", (settings, reason) => {
  expect(problems(`models: { m: { ${settings} } }`, SOLANA_ENV)).toEqual([`models.m.${reason}`]);
});

test("built-in endpoints take keys, and tokens where they are configured; own routes what they list", () => {
  const routes = 'routes: { "GET /a": { upstream: default, price: "$1" } }\n';
  const tiersOf = (yaml: string) =>
    loaded(`${ONE_MODEL}topup: null\n${routes}${yaml}`, SOLANA_ENV).routes.map(({ tiers }) => tiers);
  const seven = (tiers: readonly string[]) => Array.from({ length: 7 }, () => tiers);
  expect(tiersOf("")).toEqual([...seven(["x402", "key"]), ["x402"]]);
  expect(tiersOf(JWT)).toEqual([...seven(["x402", "key", "jwt"]), ["x402"]]);
  expect(tiersOf(`tiers: [x402]\n${JWT}`)).toEqual([...seven(["x402"]), ["x402"]]);
  expect(problems(`${ONE_MODEL}tiers: [key, jwt]`, SOLANA_ENV)).toEqual([
    "tiers: lists jwt, but jwt: is not configured",
  ]);
  expect(problems(`${ONE_MODEL}tiers: []`, SOLANA_ENV)).toHaveLength(1);
});

test("what is not said about the keyed tier has the documented default", () => {
  expect(loaded(ONE_MODEL, SOLANA_ENV)).toMatchObject({
    keys: {
      prefixes: ["sk_farebox_"],
      pepper: undefined,
      acceptVoidKeys: false,
      holdLeaseMs: 60_000,
      callTimeoutMs: 900_000,
    },
    jwt: undefined,
    ownKeys: { masterKeys: [], fee: { kind: "share", basisPoints: 500n } },
    sessionKeys: [],
    alerts: { webhookUrl: undefined, webhookSecret: undefined, allowPrivate: false, lowBalance: 1_000_000n },
    flood: { badCredentialsPerMinute: 60, refusedPaymentsPerMinute: 60, trustedProxies: [] },
    adminToken: undefined,
  });
});

test("everything about the keyed tier can be said", () => {
  const yaml = `${ONE_MODEL}
keys: { prefixes: [sk_farebox_, sr_, sk_solrouter_, sk-srt-, sk-sr-], callTimeout: 5m, holdLease: 2s }
jwt: { jwksFile: keys/jwks.json, issuer: me, audience: you, typ: a+jwt, billing: free, accountClaim: org }
byok: { fee: "$0.0005" }
alerts: { webhookUrl: "http://10.0.0.7:8080/hook?x=1", allowPrivate: true, lowBalance: null }
limits: { badCredentialsPerMinute: 5, refusedPaymentsPerMinute: 7, trustedProxies: [10.0.0.1, 192.168.0.0/16, "::1", "fd00::/8"] }
`;
  const env = {
    ...SOLANA_ENV,
    FAREBOX_KEY_PEPPER: SECRET,
    FAREBOX_ACCEPT_VOID_KEYS: "true",
    FAREBOX_WEBHOOK_SECRET: SECRET,
    FAREBOX_ADMIN_TOKEN: SECRET,
    ADMIN_PORT: "0",
  };
  expect(loaded(yaml, env)).toMatchObject({
    keys: {
      prefixes: ["sk_farebox_", "sr_", "sk_solrouter_", "sk-srt-", "sk-sr-"],
      pepper: SECRET,
      acceptVoidKeys: true,
      holdLeaseMs: 2_000,
      callTimeoutMs: 300_000,
    },
    jwt: {
      jwksUrl: undefined,
      jwksFile: "/srv/farebox/keys/jwks.json",
      issuer: "me",
      audience: "you",
      typ: "a+jwt",
      billing: "free",
      accountClaim: "org",
    },
    ownKeys: { fee: { kind: "call", price: 500n } },
    alerts: {
      webhookUrl: "http://10.0.0.7:8080/hook?x=1",
      webhookSecret: SECRET,
      allowPrivate: true,
      lowBalance: undefined,
    },
    flood: {
      badCredentialsPerMinute: 5,
      refusedPaymentsPerMinute: 7,
      trustedProxies: ["10.0.0.1", "192.168.0.0/16", "::1", "fd00::/8"],
    },
    adminToken: SECRET,
  });
});

test.each([
  ["5%", 500n],
  ["0.5%", 50n],
  ["12.25%", 1_225n],
  ["100%", 10_000n],
  ["0%", 0n],
])("the fee %s is %d ten-thousandths", (fee, basisPoints) => {
  expect(loaded(`${ONE_MODEL}byok: { fee: "${fee}" }`, SOLANA_ENV).ownKeys.fee).toEqual({
    kind: "share",
    basisPoints,
  });
});

const KEY_ID = createHash("sha256").update(BYTES).digest("hex").slice(0, 8);
test.each([
  ["base64", BYTES.toString("base64")],
  ["base64url", BYTES.toString("base64url")],
  ["hex", BYTES.toString("hex")],
  ["upper-case hex", BYTES.toString("hex").toUpperCase()],
])("a master key as %s is one key, with one id", (_, text) => {
  const { masterKeys } = loaded(ONE_MODEL, { ...SOLANA_ENV, FAREBOX_MASTER_KEY: text }).ownKeys;
  expect(masterKeys).toEqual([{ id: KEY_ID, key: BYTES }]);
});

test("two master keys stand for a rotation, newest first", () => {
  const newer = Buffer.alloc(32, 9);
  const env = { ...SOLANA_ENV, FAREBOX_MASTER_KEY: `${newer.toString("hex")}, ${BYTES.toString("base64")}` };
  expect(loaded(ONE_MODEL, env).ownKeys.masterKeys.map(({ key }) => key)).toEqual([newer, BYTES]);
});

const PREFIX = "a prefix has 3 to 32 letters, digits, - and _, and ends with - or _";
const RANGE = "write an IP address or a range such as 10.0.0.0/8";
const FEE = 'write a share such as "5%" (at most 2 decimals) or an amount a call such as "$0.0005"';
const MASTER = "each key is 32 bytes as base64 or hex: openssl rand -base64 32";
const PLAIN = "needs at least 32 characters, ASCII without blanks";
const WRONG: readonly [yaml: string, env: Record<string, string>, expected: readonly string[]][] = [
  ["keys: { prefixes: [sk] }", {}, [`keys.prefixes[0]: ${PREFIX}`]],
  ["keys: { prefixes: [s_] }", {}, [`keys.prefixes[0]: ${PREFIX}`]],
  ["keys: { prefixes: [sk_, skey] }", {}, [`keys.prefixes[1]: ${PREFIX}`]],
  ['keys: { prefixes: ["s.k_"] }', {}, [`keys.prefixes[0]: ${PREFIX}`]],
  [`keys: { prefixes: [${"a".repeat(32)}_] }`, {}, [`keys.prefixes[0]: ${PREFIX}`]],
  ["keys: { prefixes: [sk_, sr_, sk_] }", {}, ["keys.prefixes: names a prefix twice"]],
  ["keys: { callTimeout: 15 }", {}, ['keys.callTimeout: write a duration such as "30s" (ms, s, m, h, d)']],
  ["keys: { holdLease: 10ms }", {}, ["keys.holdLease: must be from 1s to 1h"]],
  ["keys: { pepper: x }", {}, ["keys.pepper: unknown setting; secrets come from environment variables only"]],
  ["", { FAREBOX_KEY_PEPPER: "short-planted" }, [`FAREBOX_KEY_PEPPER: ${PLAIN}`]],
  ["", { FAREBOX_ADMIN_TOKEN: "short-planted", ADMIN_PORT: "1" }, [`FAREBOX_ADMIN_TOKEN: ${PLAIN}`]],
  ["", { FAREBOX_ADMIN_TOKEN: `${SECRET} b`, ADMIN_PORT: "1" }, [`FAREBOX_ADMIN_TOKEN: ${PLAIN}`]],
  [
    "",
    { FAREBOX_ADMIN_TOKEN: SECRET },
    ["ADMIN_PORT: is missing: FAREBOX_ADMIN_TOKEN opens the admin API, which listens there"],
  ],
  ["jwt: { issuer: a, audience: b }", {}, ["jwt: needs one of jwksUrl and jwksFile"]],
  [
    "jwt: { jwksUrl: 'https://a', jwksFile: b, issuer: a, audience: b }",
    {},
    ["jwt: needs one of jwksUrl and jwksFile"],
  ],
  [
    "jwt: { jwksUrl: 'http://id.example.com', issuer: a, audience: b }",
    {},
    ["jwt.jwksUrl: must be https unless it is loopback"],
  ],
  ["jwt: { jwksUrl: 'http://127.0.0.1:1/jwks', issuer: a, audience: b }", {}, []],
  ["jwt: { jwksFile: b }", {}, ["jwt.issuer: is missing", "jwt.audience: is missing"]],
  [
    "jwt: { jwksFile: b, issuer: a, audience: b, typ: JWT }",
    {},
    ["jwt.typ: must be a type of its own, such as farebox+jwt: any token may be called JWT"],
  ],
  [
    "jwt: { jwksFile: b, issuer: a, audience: b, billing: maybe }",
    {},
    ['jwt.billing: Invalid option: expected one of "account"|"free"'],
  ],
  ['byok: { fee: "5.125%" }', {}, [`byok.fee: ${FEE}`]],
  ['byok: { fee: "0.0005" }', {}, [`byok.fee: ${FEE}`]],
  ['byok: { fee: "101%" }', {}, ["byok.fee: must be at most 100%"]],
  ["byok: { fee: 5 }", {}, ['byok.fee: write a fee such as "5%" or "$0.0005"']],
  ["", { FAREBOX_MASTER_KEY: BYTES.subarray(1).toString("base64") }, [`FAREBOX_MASTER_KEY: ${MASTER}`]],
  ["", { FAREBOX_MASTER_KEY: Buffer.alloc(33, 1).toString("hex") }, [`FAREBOX_MASTER_KEY: ${MASTER}`]],
  ["", { FAREBOX_MASTER_KEY: "correct horse battery staple" }, [`FAREBOX_MASTER_KEY: ${MASTER}`]],
  ["", { FAREBOX_MASTER_KEY: `${BYTES.toString("hex")},` }, [`FAREBOX_MASTER_KEY: ${MASTER}`]],
  ["", { FAREBOX_SESSION_KEY: "x".repeat(32) }, [`FAREBOX_SESSION_KEY: ${MASTER}`]],
  ["", { FAREBOX_RECEIPT_KEY: "x".repeat(32) }, [`FAREBOX_RECEIPT_KEY: ${MASTER}`]],
  [
    "",
    { FAREBOX_RECEIPT_KEY: BYTES.toString("hex"), FAREBOX_SESSION_KEY: BYTES.toString("base64") },
    ["FAREBOX_RECEIPT_KEY: must be a key of its own, not that of sessions or provider keys"],
  ],
  [
    `receipts: { formerKeys: ["${"A".repeat(42)}", "${"A".repeat(42)}B"] }`,
    {},
    [
      "receipts.formerKeys[0]: write the x of the key in /.well-known/jwks.json: 43 characters",
      "receipts.formerKeys[1]: write the x of the key in /.well-known/jwks.json: 43 characters",
    ],
  ],
  [
    "",
    { FAREBOX_MASTER_KEY: `${BYTES.toString("hex")},${BYTES.toString("base64")}` },
    ["FAREBOX_MASTER_KEY: names the same key twice"],
  ],
  [
    "",
    { FAREBOX_MASTER_KEY: [1, 2, 3].map((byte) => Buffer.alloc(32, byte).toString("hex")).join(",") },
    ["FAREBOX_MASTER_KEY: at most two keys: the first is used, both are accepted"],
  ],
  [
    "alerts: { webhookUrl: https://hooks.example.com }",
    {},
    ["FAREBOX_WEBHOOK_SECRET: is missing: alerts.webhookUrl needs it to sign with"],
  ],
  [
    "alerts: { webhookUrl: http://hooks.example.com }",
    { FAREBOX_WEBHOOK_SECRET: SECRET },
    ["alerts.webhookUrl: must be https, unless allowPrivate is on"],
  ],
  ...[
    "http://127.0.0.1:9000/hook",
    "https://localhost/hook",
    "https://10.0.0.7/hook",
    "https://[fd00::1]/hook",
  ].map((url): [string, Record<string, string>, string[]] => [
    `alerts: { webhookUrl: "${url}" }`,
    { FAREBOX_WEBHOOK_SECRET: SECRET },
    ["alerts.webhookUrl: is at a private address, where nothing is sent unless allowPrivate is on"],
  ]),
  [
    "alerts: { webhookUrl: 'https://hooks.example.com/?token=planted' }",
    { FAREBOX_WEBHOOK_SECRET: SECRET },
    [`alerts.webhookUrl: a secret does not belong in the file: write \${VARIABLE} and set the variable`],
  ],
  [
    "alerts: { lowBalance: 1 }",
    {},
    ['alerts.lowBalance: write an amount such as "$1.00", or null for no such alert'],
  ],
  [
    "limits: { badCredentialsPerMinute: 0 }",
    {},
    ["limits.badCredentialsPerMinute: write a whole number from 1 to 1000000"],
  ],
  ["limits: { trustedProxies: [proxy.example.com] }", {}, [`limits.trustedProxies[0]: ${RANGE}`]],
  ["limits: { trustedProxies: [10.0.0.1, 10.1] }", {}, [`limits.trustedProxies[1]: ${RANGE}`]],
  ["limits: { trustedProxies: ['0177.0.0.1'] }", {}, [`limits.trustedProxies[0]: ${RANGE}`]],
  ["limits: { trustedProxies: [10.0.0.0/33] }", {}, [`limits.trustedProxies[0]: ${RANGE}`]],
  ["limits: { trustedProxies: ['10.0.0.0/8/9'] }", {}, [`limits.trustedProxies[0]: ${RANGE}`]],
  [
    "limits: { trustedProxies: ['::/0'] }",
    {},
    ["limits.trustedProxies[0]: this range would believe everybody"],
  ],
];

test.each(WRONG)("{ %s } with %j is answered with its place and no value", (yaml, env, expected) => {
  const found = problems(`${ONE_MODEL}${yaml}`, { ...SOLANA_ENV, ...env });
  expect(found).toEqual(expected);
  expect(found.join("\n")).not.toContain("planted");
});

test("all that is wrong with the keyed tier is said at once", () => {
  const yaml = `
models: { m: { price: "$1", input: "$1/1M", output: x } }
keys: { prefixes: [a] }
jwt: { jwksUrl: http://id.example.com, audience: b }
byok: { fee: x }
alerts: { webhookUrl: https://hooks.example.com }
limits: { trustedProxies: [x] }
tiers: [jwt]
`;
  const env = {
    ...SOLANA_ENV,
    FAREBOX_ADMIN_TOKEN: SECRET,
    FAREBOX_MASTER_KEY: "x",
    FAREBOX_KEY_PEPPER: "x",
  };
  expect(problems(yaml, env).map((problem) => problem.split(":")[0])).toEqual(
    expect.arrayContaining([
      "models.m.output",
      "keys.prefixes[0]",
      "jwt.issuer",
      "byok.fee",
      "FAREBOX_WEBHOOK_SECRET",
      "limits.trustedProxies[0]",
      "ADMIN_PORT",
      "FAREBOX_MASTER_KEY",
      "FAREBOX_KEY_PEPPER",
    ]),
  );
});
