import { describe, expect, test } from "vitest";
import { withUpstream } from "../../server/config-models.ts";
import { withWhateverRuns } from "../../server/local-mode.ts";
import { answers, startModelUpstream } from "../support/model-upstream.ts";
import { loaded, problems, SOLANA_ENV, WALLET } from "./settings.ts";

const LOOPBACK_ONLY = "HOST: local mode serves for play money and listens on loopback only (127.0.0.1)";

test("no configuration at all is local mode on loopback", () => {
  const config = loaded(undefined);
  expect(config).toMatchObject({
    network: "local",
    caip2: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    host: "127.0.0.1",
    port: 4020,
    publicUrl: "http://127.0.0.1:4020",
    payTo: undefined,
    facilitators: [],
    rpcUrls: [],
    adminPort: undefined,
    memoSecrets: [],
    localnetRpcPort: 8899,
    localnetFacilitatorPort: 4022,
    dataDir: "/srv/farebox/.farebox",
    logLevel: "info",
  });
});

test.each(["0.0.0.0", "::", "192.168.1.5", "example.com", "127.0.0.1.example.com", "::ffff:10.0.0.1"])(
  "local mode refuses to listen on %s",
  (host) => {
    expect(problems(undefined, { HOST: host })).toEqual([LOOPBACK_ONLY]);
    expect(problems("network: local", { HOST: host })).toEqual([LOOPBACK_ONLY]);
  },
);

test.each([
  ["127.0.0.1", "http://127.0.0.1:4020"],
  ["127.0.0.2", "http://127.0.0.2:4020"],
  ["localhost", "http://localhost:4020"],
  ["::1", "http://[::1]:4020"],
])("local mode listens on %s", (host, publicUrl) => {
  expect(loaded(undefined, { HOST: host })).toMatchObject({ host, publicUrl });
});

test("production is local mode only when it is asked for by name", () => {
  const env = { NODE_ENV: "production" };
  const choose = "say which network this is: solana, solana-devnet or local";
  expect(problems(undefined, env)).toEqual([`network: NODE_ENV is production; ${choose}`]);
  expect(loaded("network: local", env).network).toBe("local");
  expect(loaded(undefined, { ...env, NETWORK: "local" }).network).toBe("local");
});

test.each([
  ["FACILITATOR_URL", "https://facilitator.example.com", "a facilitator"],
  ["RPC_URL", "https://rpc.example.com", "an RPC URL"],
  ["CDP_API_KEY_ID", "id", "a CDP key"],
])("%s without a network does not end in local mode by omission", (variable, value, what) => {
  expect(problems(undefined, { [variable]: value })).toEqual([
    `network: ${what} is set; say which network this is: solana, solana-devnet or local`,
  ]);
});

test("local mode by name brings its own facilitator and RPC, whatever else is set", () => {
  const config = loaded("network: local\nmodels: { m: {} }", { ...SOLANA_ENV, NETWORK: "local" });
  expect(config).toMatchObject({ facilitators: [], rpcUrls: [], payTo: WALLET });
});

test("without an upstream the familiar names stand for the built-in model", () => {
  const config = loaded(undefined);
  expect(config.upstreams).toEqual([
    {
      name: "default",
      url: undefined,
      apiKey: undefined,
      takesOwnKeys: true,
      headersTimeoutMs: 60_000,
      bodyTimeoutMs: 120_000,
    },
  ]);
  expect(config.models.map(({ name, model }) => [name, model])).toEqual([
    ["farebox/echo", "farebox/echo"],
    ["gpt-oss:20b", "farebox/echo"],
    ["openai/gpt-4o-mini", "farebox/echo"],
    ["vllm-primary", "farebox/echo"],
  ]);
  expect(config.defaultModel).toBe("farebox/echo");
  expect(config.modelsAssumed).toBe(true);
});

test("a detected upstream takes the familiar names over, and the built-in model is gone", () => {
  const before = loaded(undefined, { UPSTREAM_API_KEY: "for-somebody-else" });
  const config = withUpstream(before, "http://127.0.0.1:11434/v1", "llama3.2:1b");
  expect(config.upstreams).toMatchObject([
    { name: "default", url: "http://127.0.0.1:11434/v1", apiKey: undefined },
  ]);
  expect(config.models.map(({ name, model }) => [name, model])).toEqual([
    ["llama3.2:1b", "llama3.2:1b"],
    ["gpt-oss:20b", "llama3.2:1b"],
    ["openai/gpt-4o-mini", "llama3.2:1b"],
    ["vllm-primary", "llama3.2:1b"],
  ]);
  expect(config.defaultModel).toBe("llama3.2:1b");
  expect(config.routes[0]).toMatchObject({ path: "/agent", outputExample: { model: "llama3.2:1b" } });
  expect(before.models[0]?.name).toBe("farebox/echo");
});

test("an upstream that was named keeps its key, and models that were named stay", () => {
  const env = { UPSTREAM_URL: "http://127.0.0.1:8000/v1", UPSTREAM_API_KEY: "key" };
  const assumed = withUpstream(loaded(undefined, env), env.UPSTREAM_URL, "vllm-primary");
  expect(assumed.upstreams[0]?.apiKey).toBe("key");
  expect(assumed.models.map(({ model }) => model)).toEqual(["vllm-primary", "vllm-primary", "vllm-primary"]);
  const named = loaded("models: { mine: { model: theirs } }", env);
  expect(named.modelsAssumed).toBeUndefined();
  expect(withUpstream(named, env.UPSTREAM_URL, "other").models).toEqual(named.models);
});

describe("with an upstream of another name in the file", () => {
  const TAGS = { models: [{ name: "llama3.2:1b" }] };
  const LIST = { object: "list", data: [{ id: "not-for-sale" }] };

  test.each(["", "models: { mine: { model: theirs } }"])(
    "an Ollama stands behind the models all the same: %s",
    async (models) => {
      const [ollama, reports] = await Promise.all([startModelUpstream(), startModelUpstream()]);
      ollama.next(answers.json(200, TAGS));
      reports.next(answers.json(200, LIST));
      const before = loaded(`upstreams: { reports: { url: "${reports.url}" } }\n${models}`);
      const { upstreams } = await withWhateverRuns(before, { url: ollama.url, timeoutMs: 60_000 });
      await Promise.all([ollama.close(), reports.close()]);
      expect(new Map(upstreams.map(({ name, url }) => [name, url]))).toEqual(
        new Map([
          ["reports", reports.url],
          ["default", `${ollama.url}/v1`],
        ]),
      );
      expect(reports.calls).toEqual([]);
    },
  );
});
