import type { Config } from "./config.ts";
import { isRecord } from "./config-problems.ts";
import { formatUsd } from "./money.ts";
import type { Route } from "./routes.ts";

/** What the discovery documents say about an endpoint of ours; config.ts adds method, path, price and tiers. */
export type RouteCard = Pick<Route, "description" | "mimeType" | "input" | "outputExample" | "tags">;

const MODEL = { type: "string", description: "A name from GET /v1/models." } as const;

/** `POST /agent`. Its schema describes; what is accepted is decided where the body is parsed. */
export const AGENT_ROUTE: RouteCard = {
  description:
    "Ask an AI agent one question and get its answer. With stream: true the answer comes as server-sent events.",
  mimeType: "application/json",
  tags: ["ai", "agent", "llm"],
  input: {
    type: "object",
    properties: {
      prompt: { type: "string", minLength: 1, description: "The question.", examples: ["Say hello."] },
      model: MODEL,
      system: { type: "string", description: "Instructions that come before the question." },
      stream: { type: "boolean", default: false },
    },
    required: ["prompt"],
  },
  outputExample: {
    success: true,
    reply: "Hello!",
    usage: { promptTokens: 3, completionTokens: 2, totalTokens: 5 },
    model: "gpt-oss:20b",
    provider: "default",
    billing: {
      tier: "x402",
      amount: "0.02",
      currency: "USD",
      transaction: "base58 signature",
      payer: "base58 address",
    },
  },
};

/** `POST /v1/chat/completions`, as OpenAI's. */
export const CHAT_ROUTE: RouteCard = {
  description:
    "OpenAI-compatible chat completions. With stream: true the completion comes as server-sent events.",
  mimeType: "application/json",
  tags: ["ai", "chat", "llm", "openai"],
  input: {
    type: "object",
    properties: {
      model: MODEL,
      messages: {
        type: "array",
        minItems: 1,
        items: {
          type: "object",
          properties: { role: { type: "string" }, content: { type: ["string", "array", "null"] } },
          required: ["role"],
        },
        examples: [[{ role: "user", content: "Say hello." }]],
      },
      max_tokens: { type: "integer", minimum: 1 },
      temperature: { type: "number", minimum: 0, maximum: 2 },
      stream: { type: "boolean", default: false },
    },
    required: ["model", "messages"],
  },
  outputExample: {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1795132800,
    model: "gpt-oss:20b",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello!" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  },
};

/** `POST /v1/embeddings`, as OpenAI's. */
export const EMBEDDINGS_ROUTE: RouteCard = {
  description: "OpenAI-compatible embeddings: one vector for each input text.",
  mimeType: "application/json",
  tags: ["ai", "embeddings", "openai"],
  input: {
    type: "object",
    properties: {
      model: MODEL,
      input: { type: ["string", "array"], description: "A text, or a list of texts.", examples: ["hello"] },
    },
    required: ["model", "input"],
  },
  outputExample: {
    object: "list",
    data: [{ object: "embedding", index: 0, embedding: [0.01, -0.02, 0.03] }],
    model: "gpt-oss:20b",
    usage: { prompt_tokens: 1, total_tokens: 1 },
  },
};

/** A way to buy credit; config-topup.ts adds the amount and the bounds it is sold within. */
interface CreditCard extends Omit<RouteCard, "input"> {
  readonly path: string;
  readonly key: boolean;
  /** Of the body, beside `amount`. */
  readonly properties: Readonly<Record<string, unknown>>;
}

const CREDITED = {
  account: "wallet:base58 address",
  amount: "1.00",
  currency: "USD",
  asset: "base58 mint",
  asset_amount: "1000000",
  transaction: "base58 signature",
  balance: "1.00",
  repeated: false,
};

/** `POST /keys`. The fields are those of the operator's `createKey` (admin/inputs.ts). */
export const KEYS_ROUTE: CreditCard = {
  path: "/keys",
  key: true,
  description:
    "Pay an amount onto your wallet's account and get an API key to it, shown once. The same payment again gives the key's id.",
  mimeType: "application/json",
  tags: ["keys", "billing"],
  properties: {
    label: { type: "string", minLength: 1, maxLength: 100, examples: ["my agent"] },
    limit: { type: "string", description: "Most that the key may spend, dollars." },
    limit_reset: { type: "string", enum: ["never", "daily", "weekly", "monthly"] },
    expires_at: { type: "string", description: 'A date or time, or a span such as "30d".' },
    permissions: { type: "array", items: { type: "string" } },
    models: { type: "array", items: { type: "string" } },
    providers: { type: "array", items: { type: "string" } },
    rpm: { type: "integer", minimum: 1 },
    concurrency: { type: "integer", minimum: 1 },
  },
  outputExample: { id: "key_…", key: "sk_farebox_…", label: "my agent", ...CREDITED },
};

/** `POST /topup`. */
export const TOPUP_ROUTE: CreditCard = {
  path: "/topup",
  key: false,
  description:
    "Pay an amount onto your wallet's account, or onto the account of the API key sent as Authorization: Bearer.",
  mimeType: "application/json",
  tags: ["keys", "billing"],
  properties: {},
  outputExample: CREDITED,
};

type Offered = Pick<Config, "models" | "defaultModel">;

/** The routes with the example answers of built-in ones as they would come: of a model that is offered, billed at the route's price. */
export function withOfferedModels(routes: readonly Route[], offered: Offered): readonly Route[] {
  return routes.map((route) => {
    const { outputExample: example, target, price } = route;
    if ((target.kind !== "agent" && target.kind !== "openai") || !isRecord(example)) return route;
    const [first] = offered.models;
    // As the example request: `/agent` names no model.
    const model =
      target.kind === "agent" ? offered.models.find(({ name }) => name === offered.defaultModel) : first;
    if (model === undefined) return route;
    const { provider, billing } = example;
    const outputExample = {
      ...example,
      model: model.name,
      ...(provider === undefined ? {} : { provider: model.upstream }),
      ...(isRecord(billing) ? { billing: { ...billing, amount: formatUsd(price) } } : {}),
    };
    return { ...route, outputExample };
  });
}
