import type { JsonObject } from "./types.ts";

/** JSON Schemas of the account API's bodies and answers, under their names in `#/components/schemas`. */

const text: JsonObject = { type: "string" };
const flag: JsonObject = { type: "boolean" };
const time: JsonObject = { type: "string", format: "date-time" };
const dollars: JsonObject = { type: "string", examples: ["5.00"], description: "Dollars." };

/** A reference to one of them. */
export function ref(name: keyof typeof ACCOUNT_SCHEMAS): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

function object(properties: JsonObject, required: readonly string[] = Object.keys(properties)): JsonObject {
  return { type: "object", properties, required, additionalProperties: false };
}

function orNull(schema: JsonObject): JsonObject {
  return { ...schema, type: [schema["type"], "null"] };
}

function listOf(items: JsonObject): JsonObject {
  return { type: "array", items };
}

function oneOf(...values: readonly string[]): JsonObject {
  return { type: "string", enum: values };
}

/** Both forms of an amount: dollars and whole micro-dollars, exact. */
function money(...names: readonly string[]): JsonObject {
  return Object.fromEntries(
    names.flatMap((name) => [`${name}_usd`, `${name}_micro_usd`].map((key) => [key, text])),
  );
}

function moneyOrNull(...names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.keys(money(...names)).map((key) => [key, orNull(text)]));
}

const keySettings: JsonObject = {
  label: { type: "string", maxLength: 100 },
  permissions: listOf(oneOf("chat:read", "embeddings:read", "models:list", "agent:run")),
  models: { ...listOf(text), type: ["array", "null"] },
  providers: { ...listOf(text), type: ["array", "null"] },
  limit: orNull(dollars),
  limit_reset: oneOf("never", "daily", "weekly", "monthly"),
  rpm: { type: ["integer", "null"], minimum: 1 },
  concurrency: { type: ["integer", "null"], minimum: 1 },
  expires_at: { type: ["string", "null"], description: "A date, a time, or a span such as 30d." },
};

const key: JsonObject = {
  ...{ id: text, account: text, label: text, prefix: text, last4: text },
  status: oneOf("active", "revoked", "expired"),
  permissions: listOf(text),
  models: { ...listOf(text), type: ["array", "null"] },
  providers: { ...listOf(text), type: ["array", "null"] },
  ...moneyOrNull("limit", "limit_remaining"),
  limit_reset: text,
  limit_resets_at: orNull(time),
  ...money("usage", "spent", "held"),
  rpm: { type: ["integer", "null"] },
  concurrency: { type: ["integer", "null"] },
  expires_at: orNull(time),
  created_at: time,
  last_used_at: orNull(time),
};

/** A part of what was spent: from the balance, and by wallet call by call. */
function spent(names: JsonObject): JsonObject {
  return object({ ...names, ...money("charged", "paid"), calls: { type: "integer" } });
}

const providerKey: JsonObject = {
  ...{ account: text, provider: text, last4: text },
  status: oneOf("active", "outdated", "unusable"),
  created_at: time,
};
const keyOfAlert = { ...object({ id: text, label: text }), type: ["object", "null"] };

const webhook = object(
  { url: text, status: oneOf("active", "suspended", "unusable"), created_at: time, secret: text },
  ["url", "status", "created_at"],
);

export const ACCOUNT_SCHEMAS = {
  Error: {
    type: "object",
    properties: { error: { type: "object", properties: { message: text, type: text, code: text } } },
    required: ["error"],
  },
  Challenge: object({
    address: text,
    info: { type: "object", additionalProperties: text },
    message: { type: "string", description: "The text to sign, as UTF-8." },
    nonce: text,
    expires_at: time,
  }),
  Session: object({ account: text, wallet: text, csrf_token: text, expires_at: time }),
  SignedOut: object({ signed_out: flag, everywhere: flag }, ["signed_out"]),
  Account: object({
    ...{ id: text, name: text, wallet: text, network: text },
    ...money("balance", "held", "available"),
    created_at: orNull(time),
  }),
  KeySettings: object({ ...keySettings }, []),
  NewKey: object({ ...keySettings, prefix: text }, []),
  Key: object(key),
  KeyWithSecret: object({
    ...key,
    key: { type: ["string", "null"], description: "The secret, shown this once." },
    repeated: flag,
  }),
  Rotation: object({ grace: oneOf("now", "1m", "15m", "1h", "6h", "24h") }, []),
  Usage: object({
    id: { type: "integer" },
    at: time,
    tier: text,
    ...Object.fromEntries(
      ["account", "key_id", "key_label", "payer", "model", "provider"].map((name) => [name, orNull(text)]),
    ),
    route: text,
    prompt_tokens: { type: ["integer", "null"] },
    completion_tokens: { type: ["integer", "null"] },
    estimated: flag,
    ...money("held", "charged"),
    ...moneyOrNull("upstream_cost"),
    status: { type: ["integer", "null"] },
    upstream_status: { type: ["integer", "null"] },
    ms: { type: "number" },
    transaction: orNull(text),
    not_charged: orNull(text),
  }),
  JournalEntry: object({
    ...{ account: text, at: time, kind: oneOf("credit", "topup", "owed_credit", "capture"), reference: text },
    ...money("amount", "balance"),
    payment: orNull(text),
    transaction: orNull(text),
    asset: orNull(text),
    asset_amount: orNull(text),
  }),
  Spend: object({
    ...{ from: text, to: text, today: spent({}), complete: flag },
    days: listOf(spent({ date: text })),
    models: listOf(spent({ model: orNull(text) })),
    keys: listOf(spent({ key_id: orNull(text), key_label: orNull(text) })),
  }),
  RpcCall: object(
    {
      jsonrpc: oneOf("2.0"),
      id: { type: ["string", "integer", "null"] },
      method: oneOf("getLatestBlockhash", "getAccountInfo"),
      params: { type: "array" },
    },
    ["jsonrpc", "id", "method"],
  ),
  TopUp: object({
    payment: text,
    at: time,
    kind: oneOf("top_up", "key_purchase", "owed_credit"),
    ...money("amount"),
    asset: orNull(text),
    transaction: orNull(text),
    receipt: { type: ["string", "null"], description: "A JWS; its key is in /.well-known/jwks.json." },
  }),
  ProviderKey: object(providerKey),
  NewProviderKey: object({ secret: { type: "string", minLength: 8, maxLength: 1_024 } }),
  AlertSettings: object({
    ...moneyOrNull("low_balance"),
    key_limit_80: flag,
    key_limit_100: flag,
    webhook: { ...webhook, type: ["object", "null"] },
  }),
  NewAlertSettings: object(
    {
      low_balance: orNull(dollars),
      key_limit_80: flag,
      key_limit_100: flag,
      webhook: { ...object({ url: { type: "string", format: "uri" } }), type: ["object", "null"] },
    },
    ["low_balance", "key_limit_80", "key_limit_100"],
  ),
  Alert: object({
    id: text,
    kind: oneOf("low_balance", "key_limit_80", "key_limit_100"),
    key: keyOfAlert,
    ...money("amount", "threshold"),
    at: time,
    delivery: oneOf("none", "pending", "delivered", "failed", "skipped"),
  }),
  AlertTest: object({ delivered: flag, result: text }),
} as const satisfies Readonly<Record<string, JsonObject>>;

/** An answer that is a list under this name; with `next`, one page of it. */
export function page(name: string, item: JsonObject, next?: JsonObject): JsonObject {
  return object({ [name]: listOf(item), ...(next === undefined ? {} : { next_before: next }) });
}

/** What tells that something is gone. */
export function deleted(...names: readonly string[]): JsonObject {
  return object({ ...Object.fromEntries(names.map((name) => [name, text])), deleted: flag });
}
