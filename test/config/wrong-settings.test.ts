import { expect, test } from "vitest";
import { MEMO_SECRET, ONE_MODEL, problems, SOLANA_ENV, WALLET } from "./settings.ts";

const RULES: readonly [
  name: string,
  yaml: string,
  expected: readonly string[],
  env?: Record<string, string>,
][] = [
  ["an unknown setting, close to a known one", "payto: x", ['payto: unknown setting; did you mean "payTo"?']],
  [
    "an unknown setting inside a named entry",
    "upstreams: { default: { apikey: x } }",
    ['upstreams.default.apikey: unknown setting; did you mean "apiKey"?'],
  ],
  ["an unknown setting like nothing", "colour: red", ["colour: unknown setting"]],
  [
    "a secret that has no place in the file",
    `memoSecret: ${MEMO_SECRET}`,
    ["memoSecret: unknown setting; secrets come from environment variables only"],
  ],
  ["an empty section", "service:", ["service: Invalid input: expected object, received null"]],
  ["a file that is a list", "- 1", ["(file): must be a mapping of settings"]],
  ["a file that is a word", "hello", ["(file): must be a mapping of settings"]],
  ["an address that is too short", "payTo: abc", ["payTo: is not a Solana address (base58 of 32 bytes)"]],
  [
    "an address with a letter base58 lacks",
    `payTo: ${WALLET.replace("9", "0")}`,
    ["payTo: is not a Solana address (base58 of 32 bytes)"],
  ],
  ["an address of 33 bytes", `payTo: "1${WALLET}"`, ["payTo: is not a Solana address (base58 of 32 bytes)"]],
  [
    "three RPC URLs",
    "rpcUrl: [https://a.example, https://b.example, https://c.example]",
    ["rpcUrl: write one RPC URL, or a list of two"],
  ],
  ["no RPC URL in the list", "rpcUrl: []", ["rpcUrl: write one RPC URL, or a list of two"]],
  [
    "the same RPC URL twice",
    "rpcUrl: [https://a.example, https://a.example/]",
    ["rpcUrl: is twice the same URL"],
  ],
  ["an RPC URL that is none", "rpcUrl: 5", ["rpcUrl: write one RPC URL, or a list of two"]],
  [
    "the mint as wallet",
    "payTo: EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    ["payTo: is the USDC mint, not a wallet"],
  ],
  [
    "a duration without a unit",
    "payment: { tokenTtl: 5 }",
    ['payment.tokenTtl: write a duration such as "30s" (ms, s, m, h, d)'],
  ],
  ["a duration out of bounds", "payment: { settleBy: 2m }", ["payment.settleBy: must be from 1s to 50s"]],
  [
    "a size without a unit",
    'limits: { body: "100" }',
    ['limits.body: write a size with its unit, such as "64KiB"'],
  ],
  [
    "headers that may take longer than the whole request",
    "limits: { headersTimeout: 61s }",
    ["limits.headersTimeout: must not be above limits.requestTimeout, which includes it"],
  ],
  [
    "a price as a YAML number",
    "prices: { agent: 0.02 }",
    ['prices.agent: write a price such as "$0.02", or null to switch the endpoint off'],
  ],
  [
    "a price finer than USDC",
    'routes: { "GET /a": { upstream: a, price: "$0.0000001" } }\nupstreams: { a: { url: "http://a" } }',
    ['routes["GET /a"].price: write a price such as "$0.02" (at most 6 decimals)'],
  ],
  ["a price of nothing", 'prices: { chat: "$0" }', ["prices.chat: a price is at least $0.000001"]],
  [
    "a URL with credentials",
    "publicUrl: https://me:pw@example.com",
    ["publicUrl: must not contain a user name or password"],
  ],
  ["a URL of another scheme", "publicUrl: ftp://example.com", ["publicUrl: must be an http or https URL"]],
  [
    "a facilitator that is neither",
    "network: local\nfacilitator: stripe",
    ['facilitator: write "coinbase" or an http(s) URL'],
  ],
  [
    "one wrong item of a list",
    "payment: { streamingTypes: [a/b, c, d/e] }",
    ["payment.streamingTypes[1]: write a media type such as text/event-stream"],
  ],
  ["a wrong port", "", ["PORT: write a whole number from 0 to 65535"], { PORT: "80a" }],
  [
    "a short secret",
    "",
    ["FAREBOX_MEMO_SECRET: each secret needs at least 32 characters"],
    { FAREBOX_MEMO_SECRET: `${MEMO_SECRET},short` },
  ],
  [
    "three secrets",
    "",
    ["FAREBOX_MEMO_SECRET: at most two secrets: the first is used, both are accepted"],
    { FAREBOX_MEMO_SECRET: `${MEMO_SECRET},${MEMO_SECRET},${MEMO_SECRET}` },
  ],
  [
    "an unknown network",
    "network: base",
    ['network: Invalid option: expected one of "local"|"solana"|"solana-devnet"'],
  ],
  [
    "a model on an unknown upstream",
    "models: { m: { upstream: nowhere } }",
    ["models.m.upstream: is not one of the upstreams: default"],
  ],
  [
    "a default model that is not offered",
    "models: { m: {} }\ndefaultModel: n",
    ["defaultModel: is not one of the models"],
  ],
  [
    "nothing to sell",
    "prices: { agent: null, chat: false, embeddings: null }",
    ["routes: there is nothing to sell"],
  ],
  [
    "a service name for no crawler",
    `service: { name: "${"x".repeat(33)}" }`,
    ["service.name: Too big: expected string to have <=32 characters"],
  ],
];

test.each(RULES)("%s is refused", (_, yaml, expected, env = {}) => {
  expect(problems(yaml, env)).toEqual(expected);
});

const CONSOLE = "would also sell /console, which is for people; use another path, or set console: false";

const ROUTES: readonly [key: string, reason: string][] = [
  ["GET report", 'write "METHOD /path", such as "GET /report/:id"'],
  ["get /report", 'write "METHOD /path", such as "GET /report/:id"'],
  ["HEAD /x", "this method cannot be sold; use one of GET, POST, PUT, PATCH, DELETE"],
  ["OPTIONS /x", "this method cannot be sold; use one of GET, POST, PUT, PATCH, DELETE"],
  ["CONNECT /x", "this method cannot be sold; use one of GET, POST, PUT, PATCH, DELETE"],
  ["TRACE /x", "this method cannot be sold; use one of GET, POST, PUT, PATCH, DELETE"],
  ["GET /files/*", "is not a path pattern of Express 5 (/report/:id, /files/*path, /a{/:b})"],
  ["GET /a/:", "is not a path pattern of Express 5 (/report/:id, /files/*path, /a{/:b})"],
  ["GET /a(b)?", "is not a path pattern of Express 5 (/report/:id, /files/*path, /a{/:b})"],
  ["GET /*all", "would also sell /healthz, which stays free; use a prefix"],
  ["POST /:group/:step", "would also sell /account/keys, which stays free; use a prefix"],
  ["POST /auth/*step", "would also sell /auth/challenge, which stays free; use a prefix"],
  ["POST /account/:what", "would also sell /account/keys, which stays free; use a prefix"],
  ["POST /account/rpc", "would also sell /account/rpc, which stays free; use a prefix"],
  ["GET /account/spend", "would also sell /account/spend, which stays free; use a prefix"],
  ["GET /console", CONSOLE],
  ["GET /Console/", CONSOLE],
  ["POST /console/anything/of/mine", CONSOLE],
  ["GET /console{/:screen}", CONSOLE],
  ["GET /:area/assets/:file", CONSOLE],
  ["GET /:what", "would also sell /healthz, which stays free; use a prefix"],
  ["PUT /:place/*rest", "would also sell /account/keys, which stays free; use a prefix"],
  ["DELETE /*what/faucet", CONSOLE],
  ["GET /v1/:what", "would also sell /v1/models, which stays free; use a prefix"],
  ["GET /.well-known/:doc", "would also sell /.well-known/x402, which stays free; use a prefix"],
  ["POST /agent", "is the same route as the built-in POST /agent"],
  ["POST /V1/Embeddings/", "is the same route as the built-in POST /v1/embeddings"],
];

test.each(ROUTES)("the route %s is refused", (key, reason) => {
  const yaml = `routes: { "${key}": { upstream: a, price: "$1" } }\nupstreams: { a: { url: "http://a" } }`;
  expect(problems(yaml)).toEqual([`routes["${key}"]: ${reason}`]);
});

test.each(["GET /console", "POST /console/:name"])(
  "the route %s may be sold where the console is off",
  (key) => {
    const yaml = `console: false\nroutes: { "${key}": { upstream: a, price: "$1" } }\nupstreams: { a: { url: "http://a" } }`;
    expect(problems(yaml)).toEqual([]);
  },
);

test("routes that differ only in parameter names, case or a trailing slash are the same route", () => {
  const yaml = `
upstreams: { a: { url: "http://a" } }
routes:
  "GET /report/:id": { upstream: a, price: "$1" }
  "GET /Report/:name/": { upstream: a, price: "$2" }
  "POST /report/:id": { upstream: a, price: "$1" }
  "GET /report/*rest": { upstream: a, price: "$1" }
`;
  expect(problems(yaml)).toEqual(['routes["GET /Report/:name/"]: is the same route as GET /report/:id']);
});

test("a route that is never reached is told so: its price would be the earlier one's", () => {
  const yaml = `
upstreams: { a: { url: "http://a" } }
routes:
  "GET /report/:id": { upstream: a, price: "$1" }
  "GET /report/premium": { upstream: a, price: "$2" }
  "POST /report/premium": { upstream: a, price: "$2" }
  "GET /files/first": { upstream: a, price: "$1" }
  "GET /files/*rest": { upstream: a, price: "$1" }
  "GET /files/:name": { upstream: a, price: "$2" }
  "GET /files{/:name}": { upstream: a, price: "$2" }
`;
  expect(problems(yaml)).toEqual([
    'routes["GET /report/premium"]: is never reached: GET /report/:id takes its paths; put it before that',
    'routes["GET /files/:name"]: is never reached: GET /files/*rest takes its paths; put it before that',
  ]);
});

test("a route needs an upstream that is there and has somewhere to forward to", () => {
  const yaml = `
routes:
  "GET /a": { upstream: nowhere, price: "$1" }
  "GET /b": { upstream: default, price: "$1" }
  "GET /c": { price: "$1" }
`;
  expect(problems(yaml)).toEqual([
    'routes["GET /c"].upstream: is missing',
    'routes["GET /a"].upstream: is not one of the upstreams: default',
    'routes["GET /b"].upstream: has no url, so there is nothing to forward to',
  ]);
});

test("a tier that is none, one that is not configured, and a schema that indexes refuse", () => {
  const yaml = `
upstreams: { a: { url: "http://a" } }
routes:
  "GET /a": { upstream: a, price: "$1", tiers: [x402, cash] }
  "GET /c": { upstream: a, price: "$1", tiers: [jwt] }
  "GET /d": { upstream: a, price: "$1", tiers: [key, key] }
  "GET /b": { upstream: a, price: "$1", input: { properties: { q: { pattern: "^(?!x)" } } } }
`;
  expect(problems(yaml)).toEqual([
    'routes["GET /a"].tiers[1]: Invalid option: expected one of "x402"|"key"|"jwt"',
    'routes["GET /d"].tiers: names a tier twice',
    'routes["GET /b"].input: has a pattern with look-ahead or look-behind, which indexes refuse',
    'routes["GET /c"].tiers: lists jwt, but jwt: is not configured',
  ]);
});

test("everything that is wrong is said at once, and nothing that only follows from it", () => {
  const yaml = `
network: solana
payTo: abc
colour: red
rpcUrl: \${NOT_SET}
upstreams:
  default: { url: "not a url", apiKey: literal-key }
models:
  m: { maxOutput: 0, upstream: elsewhere }
  n: {}
routes:
  "GET /x": { upstream: default }
  "TRACE /y": { upstream: default, price: "$1" }
payment: { gate: 1 }
`;
  const found = problems(yaml, { PORT: "-1", FAREBOX_MEMO_SECRET: "short" });
  expect([...found].sort()).toEqual(
    [
      "FAREBOX_MEMO_SECRET: each secret needs at least 32 characters",
      "PORT: write a whole number from 0 to 65535",
      "colour: unknown setting",
      "facilitator: is missing (or set FACILITATOR_URL)",
      "models.m.maxOutput: write a whole number from 1 to 10000000",
      "models.m.upstream: is not one of the upstreams: default",
      "payTo: is not a Solana address (base58 of 32 bytes)",
      'payment.gate: write a size such as "64KiB" (B, KB, MB, KiB, MiB, GiB)',
      "publicUrl: is missing (or set PUBLIC_URL)",
      'routes["GET /x"].price: is missing',
      'routes["TRACE /y"]: this method cannot be sold; use one of GET, POST, PUT, PATCH, DELETE',
      "rpcUrl: the variable NOT_SET is not set",
      `upstreams.default.apiKey: a secret does not belong in the file: write \${VARIABLE} and set the variable`,
      "upstreams.default.url: is not a URL",
    ].sort(),
  );
});

test("what else is wrong with a route is said beside its wrong or missing price", () => {
  const yaml = `
upstreams: { a: { url: "http://a" } }
routes:
  "GET /wrong": { upstream: elsewhere, price: cheap, tiers: [jwt] }
  "GET /missing": { upstream: elsewhere }
  "GET /Missing": { upstream: a, price: [] }
`;
  expect(problems(yaml)).toEqual([
    'routes["GET /wrong"].price: write a price such as "$0.02" (at most 6 decimals)',
    'routes["GET /missing"].price: is missing',
    'routes["GET /Missing"].price: write a price as a string, such as "$0.02"',
    'routes["GET /wrong"].tiers: lists jwt, but jwt: is not configured',
    'routes["GET /Missing"]: is the same route as GET /missing',
    'routes["GET /wrong"].upstream: is not one of the upstreams: a, default',
    'routes["GET /missing"].upstream: is not one of the upstreams: a, default',
  ]);
});

test("a network with other people on it needs all of its settings", () => {
  expect(problems("network: solana")).toEqual([
    "payTo: is missing (or set PAY_TO)",
    "facilitator: is missing (or set FACILITATOR_URL)",
    "rpcUrl: is missing (or set RPC_URL)",
    "publicUrl: is missing (or set PUBLIC_URL)",
    "FAREBOX_MEMO_SECRET: is missing",
    "models: is missing: name at least one model, or switch agent, chat and embeddings off",
  ]);
  expect(problems("network: solana\nmodels: { m: {} }")).toContain(
    "models.m.upstream: names an upstream, but there are none",
  );
});

test("Coinbase's facilitator needs its keys and has a minimum price", () => {
  const env = { ...SOLANA_ENV, FACILITATOR_URL: "coinbase" };
  const routes =
    'upstreams: { a: { url: "http://a" } }\nroutes: { "GET /a": { upstream: a, price: "$0.000999" } }';
  expect(problems(`${ONE_MODEL}prices: { chat: "$0.0009" }\n${routes}`, env)).toEqual([
    "CDP_API_KEY_ID: is missing: facilitator coinbase needs it",
    "CDP_API_KEY_SECRET: is missing: facilitator coinbase needs it",
    "prices.chat: Coinbase's facilitator settles nothing below $0.001",
    'routes["GET /a"].price: Coinbase\'s facilitator settles nothing below $0.001',
  ]);
  const keys = { CDP_API_KEY_ID: "id", CDP_API_KEY_SECRET: "secret" };
  expect(problems(`${ONE_MODEL}prices: { chat: "$0.001" }`, { ...env, ...keys })).toEqual([]);
  expect(problems(`${ONE_MODEL}prices: { chat: "$0.000001" }`, SOLANA_ENV)).toEqual([]);
});

test.each([
  ["FACILITATOR_URL", "http://facilitator.example.com", "must be https: payments go through it"],
  ["PUBLIC_URL", "http://api.example.com", "must be https unless it is loopback"],
])("%s over plain http is refused on Solana unless it is loopback", (variable, url, reason) => {
  expect(problems(ONE_MODEL, { ...SOLANA_ENV, [variable]: url })).toEqual([`${variable}: ${reason}`]);
  expect(problems(ONE_MODEL, { ...SOLANA_ENV, [variable]: "http://127.0.0.1:4022" })).toEqual([]);
});

const { FACILITATOR_URL: _single, ...WITHOUT_FACILITATOR } = SOLANA_ENV;
const LOCAL_HINT = "network: a facilitator is set; say which network this is: solana, solana-devnet or local";

test.each<[string, string, Record<string, string>, string[]]>([
  [
    "beside the variable",
    "facilitators: [https://a.example.com]",
    SOLANA_ENV,
    ["facilitators: is set beside FACILITATOR_URL; keep one of them"],
  ],
  [
    "beside the single setting",
    "facilitator: coinbase\nfacilitators: [https://a.example.com]",
    WITHOUT_FACILITATOR,
    ["facilitators: is set beside facilitator; keep one of them"],
  ],
  ["empty", "facilitators: []", WITHOUT_FACILITATOR, ["facilitators: names no facilitator"]],
  [
    "twice the same",
    "facilitators: [https://a.example.com, https://a.example.com/]",
    WITHOUT_FACILITATOR,
    ["facilitators: names a facilitator twice"],
  ],
  [
    "one that is neither",
    "facilitators: [coinbase, stripe]",
    WITHOUT_FACILITATOR,
    ['facilitators[1]: write "coinbase" or an http(s) URL'],
  ],
  [
    "an unknown setting",
    "facilitators: [{ url: https://a.example.com, timeout: 5s }]",
    WITHOUT_FACILITATOR,
    ["facilitators[0].timeout: unknown setting"],
  ],
  [
    "plain http",
    "facilitators: [https://a.example.com, http://b.example.com]",
    WITHOUT_FACILITATOR,
    ["facilitators[1]: must be https: payments go through it"],
  ],
  [
    "Coinbase without its keys and below its minimum",
    'facilitators: [https://a.example.com, coinbase]\nprices: { chat: "$0.0005" }',
    WITHOUT_FACILITATOR,
    [
      "CDP_API_KEY_ID: is missing: facilitator coinbase needs it",
      "CDP_API_KEY_SECRET: is missing: facilitator coinbase needs it",
      "prices.chat: Coinbase's facilitator settles nothing below $0.001",
    ],
  ],
  ["for a network without a name", "facilitators: [https://a.example.com]", {}, [LOCAL_HINT]],
])("facilitators: %s", (_name, yaml, env, expected) => {
  expect(problems(`${yaml}\n${ONE_MODEL}`, env)).toEqual(expected);
});
