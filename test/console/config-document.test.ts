import { expect, test } from "vitest";
import { consoleConfig } from "../../server/console/console-config.ts";
import { loaded, MEMO_SECRET, ONE_MODEL, SOLANA_ENV } from "../config/settings.ts";

const MASTER_KEY = Buffer.alloc(32, 7).toString("hex");
const WEBHOOK_SECRET = "a-webhook-secret-of-more-than-32-characters";
const PEPPER = "a-pepper-of-more-than-thirty-two-characters!";

const FULL = `
service: { name: Shop, contactEmail: ops@example.com }
upstreams:
  default: { url: "https://models.example.com/v1", apiKey: "\${UPSTREAM}" }
  other: { url: "https://other.example.com/v1" }
models:
  by-token: { input: "$0.15/1M", output: "$0.60/1M" }
  only-input: { upstream: other, input: "$0.02/1M" }
  by-call: { price: "$0.0123" }
  flat: { model: secret-name-upstream }
prices: { chat: "$0.03" }
topup: { min: "$0.50", max: "$20.00", default: "$2.00" }
keys: { prefixes: [sk_shop_, sk_old_] }
alerts: { webhookUrl: "https://hooks.example.com/x" }
`;
const ENV = {
  ...SOLANA_ENV,
  UPSTREAM: "sk-upstream-secret",
  FAREBOX_MASTER_KEY: MASTER_KEY,
  FAREBOX_WEBHOOK_SECRET: WEBHOOK_SECRET,
  FAREBOX_KEY_PEPPER: PEPPER,
};

test("the document has every amount as an exact string", () => {
  expect(consoleConfig(loaded(FULL, ENV))).toEqual({
    name: "Shop",
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    local: false,
    public_url: "https://api.example.com",
    topup: { least_usd: "0.50", most_usd: "20.00", usual_usd: "2.00" },
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    models: [
      model("by-token", "default", "0.15", "0.60", null),
      model("only-input", "other", "0.02", "0.00", null),
      model("by-call", "default", null, null, "0.0123"),
      model("flat", "default", null, null, "0.03"),
    ],
    // The other has no key of the operator's, so it may check none.
    providers: ["default"],
    key_prefixes: ["sk_shop_", "sk_old_"],
    permissions: ["chat:read", "embeddings:read", "models:list", "agent:run"],
    provider_keys: true,
    explorer: "https://explorer.solana.com/tx/{signature}",
  });
});

function model(
  id: string,
  provider: string,
  input: string | null,
  output: string | null,
  price: string | null,
) {
  return {
    ...{ id, provider },
    ...{ input_usd_per_million: input, output_usd_per_million: output, price_usd: price },
  };
}

test("it has no secret, no node, no facilitator and nothing of what is behind a name", () => {
  const text = JSON.stringify(consoleConfig(loaded(FULL, ENV)));
  const private_ = [
    ...[ENV.UPSTREAM, MASTER_KEY, WEBHOOK_SECRET, PEPPER, MEMO_SECRET, "api-key", "rpc.example.com"],
    ...["facilitator.example.com", "models.example.com", "hooks.example.com", "secret-name-upstream"],
  ];
  for (const word of private_) expect(text).not.toContain(word);
});

test("what is off is null or false, and each network has its own explorer", () => {
  const devnet = consoleConfig(
    loaded(`${ONE_MODEL}topup: null\nprices: { chat: null, agent: "$0.05" }`, {
      ...SOLANA_ENV,
      NETWORK: "solana-devnet",
    }),
  );
  expect(devnet).toMatchObject({
    topup: null,
    provider_keys: false,
    network: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    explorer: "https://explorer.solana.com/tx/{signature}?cluster=devnet",
    models: [model("gpt", "default", null, null, "0.05")],
  });
  expect(consoleConfig(loaded(undefined))).toMatchObject({ local: true, explorer: null });
});
