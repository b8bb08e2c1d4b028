import { expect, test } from "vitest";
import { loadConfig } from "../../server/load-config.ts";
import { readPaywallOptions } from "../../server/paywall-options.ts";
import { load, loaded, MEMO_SECRET, ONE_MODEL, SOLANA_ENV, WALLET } from "./settings.ts";

const OTHER_WALLET = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";

const FILE = `
network: solana
payTo: ${OTHER_WALLET}
publicUrl: https://file.example.com/
rpcUrl: https://rpc-file.example.com
facilitator: https://facilitator-file.example.com/x402/
upstreams: { default: { url: "https://models-file.example.com/v1/", apiKey: "\${FILE_KEY}", headersTimeout: 5s } }
models: { gpt: {} }
`;

test("the file is used as it stands", () => {
  expect(loaded(FILE, { FAREBOX_MEMO_SECRET: MEMO_SECRET, FILE_KEY: "file-key" })).toMatchObject({
    network: "solana",
    payTo: OTHER_WALLET,
    host: "0.0.0.0",
    publicUrl: "https://file.example.com",
    facilitators: [{ url: "https://facilitator-file.example.com/x402" }],
    upstreams: [
      {
        url: "https://models-file.example.com/v1",
        apiKey: "file-key",
        headersTimeoutMs: 5_000,
        bodyTimeoutMs: 120_000,
      },
    ],
  });
});

test("a variable wins over the file; an empty one counts as not set", () => {
  const env = {
    ...SOLANA_ENV,
    NETWORK: "solana-devnet",
    UPSTREAM_API_KEY: "env-key",
    FILE_KEY: "file-key",
    HOST: "",
  };
  expect(loaded(FILE, { ...env, PUBLIC_URL: "" })).toMatchObject({
    network: "solana-devnet",
    caip2: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    asset: "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
    payTo: WALLET,
    host: "0.0.0.0",
    publicUrl: "https://file.example.com",
    rpcUrls: ["https://rpc.example.com/?api-key=abc"],
    facilitators: [{ url: "https://facilitator.example.com" }],
    upstreams: [{ url: "https://models.example.com/v1", apiKey: "env-key", headersTimeoutMs: 5_000 }],
  });
});

test.each([
  ["one", "https://a.example/", ["https://a.example/"]],
  ["two", "https://a.example/?k=1,2 , http://b.example/", ["https://a.example/?k=1,2", "http://b.example/"]],
])("RPC_URL with %s", (_name, text, urls) => {
  expect(loaded(ONE_MODEL, { ...SOLANA_ENV, RPC_URL: text }).rpcUrls).toEqual(urls);
});

test("two RPC URLs in the file, one of them from a variable", () => {
  const yaml = `${ONE_MODEL}\nrpcUrl: [https://a.example/, "\${SECOND}"]`;
  const env = { ...SOLANA_ENV, RPC_URL: "", SECOND: "https://b.example/?key=x" };
  expect(loaded(yaml, env).rpcUrls).toEqual(["https://a.example/", "https://b.example/?key=x"]);
});

test("what is not said has the documented default", () => {
  const config = loaded(ONE_MODEL, SOLANA_ENV);
  expect(config.payment).toEqual({
    v1: true,
    tokenTtlMs: 300_000,
    maxTimeoutSeconds: 60,
    settleByMs: 30_000,
    leaseMs: 15_000,
    maxInFlightPerPayer: 8,
    strikeMs: 600_000,
    storeResponses: true,
    storeResponseMaxBytes: 65_536,
    storeResponseTtlMs: 600_000,
    paymentIdentifier: "optional",
    streamingTypes: ["text/event-stream", "application/x-ndjson"],
    gateBytes: 262_144,
  });
  expect(config).toMatchObject({
    verifyTimeoutMs: 10_000,
    settleTimeoutMs: 35_000,
    bodyLimitBytes: 1_048_576,
    server: { headersTimeoutMs: 20_000, requestTimeoutMs: 60_000, maxConnections: 16_384 },
    drainMs: 25_000,
    adminHost: "127.0.0.1",
    models: [{ name: "gpt", upstream: "default", model: "gpt", maxOutput: 4_096 }],
    defaultModel: "gpt",
    memoSecrets: [MEMO_SECRET],
  });
});

test("the built-in endpoints stand on every mount, in the mount's dialect", () => {
  const routes = loaded(ONE_MODEL, SOLANA_ENV).routes;
  expect(
    routes.map(({ method, path, price, dialect, target }) => [method, path, price, dialect, target.kind]),
  ).toEqual([
    ["POST", "/agent", 20_000n, "openai", "agent"],
    ["POST", "/v1/chat/completions", 20_000n, "openai", "openai"],
    ["POST", "/v1/embeddings", 2_000n, "openai", "openai"],
    ["POST", "/ai/chat/completions", 20_000n, "openai", "openai"],
    ["POST", "/ai/embeddings", 2_000n, "openai", "openai"],
    ["POST", "/api/v1/chat/completions", 20_000n, "numeric", "openai"],
    ["POST", "/api/v1/embeddings", 2_000n, "numeric", "openai"],
    ["POST", "/keys", 1_000_000n, "openai", "credit"],
    ["POST", "/topup", 1_000_000n, "openai", "credit"],
  ]);
});

test("an endpoint without a price is switched off; a gateway of own routes needs no model", () => {
  const off = loaded(`${ONE_MODEL}topup: null\nprices: { chat: null, embeddings: false }`, SOLANA_ENV);
  expect(off.routes.map(({ path }) => path)).toEqual(["/agent"]);
  const { UPSTREAM_URL: _, ...env } = SOLANA_ENV;
  const own = loaded(
    `prices: { agent: null, chat: null, embeddings: null }
upstreams: { reports: { url: "https://reports.example.com" } }
routes: { "GET /report/:id": { upstream: reports, price: "$0.05", settle: upfront, output: { id: 1 } } }`,
    env,
  );
  expect(own.defaultModel).toBe("");
  expect(own.routes).toEqual([
    {
      method: "GET",
      path: "/report/:id",
      price: 50_000n,
      tiers: ["x402"],
      settle: "upfront",
      dialect: "openai",
      target: { kind: "forward", upstream: "reports" },
      description: "GET /report/:id",
      mimeType: "application/json",
      tags: [],
      input: { type: "object" },
      outputExample: { id: 1 },
    },
  ]);
});

test("example answers are of models that are offered, billed at the route's own price", () => {
  const yaml = `models: { first: {}, second: { upstream: other } }
defaultModel: second
prices: { agent: "$0.5", chat: "$0.25" }
upstreams: { other: { url: "https://other.example.com" } }
routes: { "GET /own": { upstream: other, price: "$0.05", output: { model: theirs } } }`;
  const { routes } = loaded(yaml, SOLANA_ENV);
  const exampleAt = (path: string) => routes.find((route) => route.path === path)?.outputExample;
  const billing = expect.objectContaining({ amount: "0.50", currency: "USD" });
  // `/agent` is asked without a model, the others with the first one.
  expect(exampleAt("/agent")).toMatchObject({ model: "second", provider: "other", billing });
  for (const mount of ["/v1", "/ai", "/api/v1"]) {
    expect(exampleAt(`${mount}/chat/completions`)).toMatchObject({ model: "first" });
    expect(exampleAt(`${mount}/embeddings`)).toMatchObject({ model: "first" });
  }
  expect(exampleAt("/own")).toEqual({ model: "theirs" });
});

test("two secrets stand for a rotation, newest first", () => {
  const newer = `newer-${MEMO_SECRET}`;
  const config = loaded(ONE_MODEL, { ...SOLANA_ENV, FAREBOX_MEMO_SECRET: `${newer}, ${MEMO_SECRET}` });
  expect(config.memoSecrets).toEqual([newer, MEMO_SECRET]);
});

test("the configuration is frozen all the way down", () => {
  const config = loaded(ONE_MODEL, SOLANA_ENV);
  for (const part of [config, config.payment, config.routes, config.routes[0]?.input, config.upstreams[0]]) {
    expect(Object.isFrozen(part)).toBe(true);
  }
});

test("a file that was named must be there; the default one need not", () => {
  const options = { cwd: "/srv/farebox", readFile: () => undefined };
  expect(loadConfig({ ...options, env: {} })).toHaveProperty("config");
  const missing = { problems: [{ path: "other.yaml", message: "there is no such file" }] };
  expect(loadConfig({ ...options, env: { FAREBOX_CONFIG: "other.yaml" } })).toEqual(missing);
  expect(loadConfig({ ...options, env: { FAREBOX_CONFIG: "x.yaml" }, configPath: "other.yaml" })).toEqual(
    missing,
  );
});

test("the command line's file wins over FAREBOX_CONFIG, which wins over farebox.yaml", () => {
  const readFile = (path: string) => `service: { name: "${path}" }`;
  const read = (env: Record<string, string>, configPath?: string) => {
    const result = loadConfig({ env, cwd: "/srv", configPath, readFile });
    return "config" in result ? result.config.service.name : result.problems;
  };
  expect(read({})).toBe("/srv/farebox.yaml");
  expect(read({ FAREBOX_CONFIG: "b.yaml" })).toBe("/srv/b.yaml");
  expect(read({ FAREBOX_CONFIG: "b.yaml" }, "/etc/c.yaml")).toBe("/etc/c.yaml");
});

test("a file that cannot be read is a problem, not a crash", () => {
  const readFile = () => {
    throw Object.assign(new Error("no"), { code: "EACCES" });
  };
  expect(loadConfig({ env: {}, cwd: "/srv", readFile })).toEqual({
    problems: [{ path: "farebox.yaml", message: "cannot be read (EACCES)" }],
  });
});

test("numbers and flags may come from variables", () => {
  const yaml = `payment: { maxInFlightPerPayer: "\${N}", storeResponses: "\${S}" }`;
  expect(load(yaml, { N: "3", S: "false" })).toMatchObject({
    config: { payment: { maxInFlightPerPayer: 3, storeResponses: false } },
  });
});

test("a middleware takes several facilitators too, instead of the one or of local mode's", () => {
  const options = { payTo: WALLET, publicUrl: "https://api.example.com", memoSecret: MEMO_SECRET };
  const rpcUrl = "https://rpc.example.com";
  const facilitators = ["https://a.example.com", "https://b.example.com"];
  const several = [{ url: "https://a.example.com" }, { url: "https://b.example.com" }];
  expect(readPaywallOptions({ ...options, network: "solana", rpcUrl, facilitators })).toMatchObject({
    facilitators: several,
  });
  expect(readPaywallOptions({ ...options, network: "local", facilitators })).toMatchObject({
    facilitators: several,
  });
  expect(readPaywallOptions({ ...options, network: "local" })).toMatchObject({
    facilitators: [{ url: "http://127.0.0.1:4022" }],
  });
  expect(() =>
    readPaywallOptions({
      ...options,
      network: "solana",
      rpcUrl,
      facilitators,
      facilitator: "https://c.example.com",
    }),
  ).toThrow("facilitators: is set beside facilitator; keep one of them");
});

test("several facilitators, in their order, each as one is written or with time limits of its own", () => {
  const { FACILITATOR_URL: _one, ...env } = SOLANA_ENV;
  const list = `facilitators: [coinbase, "https://b.example.com/", { url: "https://c.example.com", verify: 20s, settle: 1m }]\n`;
  const keys = { CDP_API_KEY_ID: "id", CDP_API_KEY_SECRET: "secret" };
  expect(loaded(list + ONE_MODEL, { ...env, ...keys }).facilitators).toEqual([
    { url: "coinbase" },
    { url: "https://b.example.com" },
    { url: "https://c.example.com", verifyTimeoutMs: 20_000, settleTimeoutMs: 60_000 },
  ]);
});
