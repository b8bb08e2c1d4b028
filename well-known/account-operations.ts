import { ACCOUNT_SCHEMAS, deleted, page, ref } from "./account-schemas.ts";
import { pathParams } from "./route-template.ts";
import type { JsonObject } from "./types.ts";

/** Names of a session's cookies. */
export interface SessionCookies {
  readonly session: string;
  readonly refresh: string;
}

/** One request of sign-in or of the account API. */
export interface AccountOperation {
  readonly method: string;
  /** Express 5 path pattern. */
  readonly path: string;
  readonly summary: string;
  readonly access: "open" | "wallet" | "session" | "refresh";
  readonly query?: readonly string[];
  /** Repeats under the same `Idempotency-Key` do it once. */
  readonly repeatable?: boolean;
  /** Schema of the body, where it takes one. */
  readonly body?: JsonObject;
  readonly status?: "200" | "201";
  readonly answer: JsonObject;
}

const integer: JsonObject = { type: ["integer", "null"] };
const place: JsonObject = { type: ["string", "null"] };
const PAGED = ["limit", "before"];

/** Those that an agent needs first come first: a document has room for so many. */
export const ACCOUNT_OPERATIONS: readonly AccountOperation[] = [
  {
    ...{ method: "POST", path: "/auth/challenge", access: "open", answer: ref("Challenge") },
    summary: "What a wallet signs to sign in (CAIP-122). It moves no money.",
    body: { type: "object", properties: { address: { type: "string" } }, required: ["address"] },
  },
  {
    ...{ method: "GET", path: "/account", access: "wallet", answer: ref("Account") },
    summary: "The balance of the wallet's account.",
  },
  {
    ...{ method: "POST", path: "/account/keys", access: "wallet", repeatable: true, body: ref("NewKey") },
    ...{ status: "201", answer: ref("KeyWithSecret") },
    summary: "A new key, whose secret is shown this once.",
  },
  {
    ...{ method: "GET", path: "/account/keys", access: "wallet", answer: page("keys", ref("Key")) },
    summary: "The account's keys.",
  },
  {
    ...{
      method: "GET",
      path: "/account/usage",
      access: "wallet",
      answer: page("usage", ref("Usage"), integer),
    },
    query: ["since", "key", "model", "format", ...PAGED],
    summary: "Calls, newest first; with format=csv as CSV.",
  },
  {
    ...{ method: "GET", path: "/account/topups", access: "wallet", query: PAGED },
    answer: page("topups", ref("TopUp"), place),
    summary: "Payments that were credited, with their receipts.",
  },
  {
    ...{ method: "GET", path: "/account/journal", access: "wallet", query: PAGED },
    answer: page("journal", ref("JournalEntry"), place),
    summary: "Every change of the balance, newest first.",
  },
  {
    ...{ method: "GET", path: "/account/spend", access: "wallet", query: ["days"], answer: ref("Spend") },
    summary: "What the calls cost, by day, model and key.",
  },
  {
    ...{ method: "POST", path: "/account/rpc", access: "wallet", body: ref("RpcCall") },
    answer: { type: "object" },
    summary: "What signing a payment must know of the chain (JSON-RPC 2.0).",
  },
  {
    ...{ method: "DELETE", path: "/account/keys/:id", access: "wallet", answer: ref("Key") },
    summary: "Revokes a key for ever.",
  },
  {
    ...{ method: "POST", path: "/account/keys/:id/rotate", access: "wallet", repeatable: true },
    ...{ body: ref("Rotation"), status: "201", answer: ref("KeyWithSecret") },
    summary: "A new secret for a key.",
  },
  {
    ...{
      method: "PATCH",
      path: "/account/keys/:id",
      access: "wallet",
      body: ref("KeySettings"),
      answer: ref("Key"),
    },
    summary: "Changes what is named; null lifts a restriction.",
  },
  {
    ...{ method: "GET", path: "/account/keys/:id", access: "wallet", answer: ref("Key") },
    summary: "One key.",
  },
  {
    ...{ method: "POST", path: "/auth/verify", access: "open", answer: ref("Session") },
    body: {
      type: "object",
      properties: { address: { type: "string" }, signature: { type: "string" } },
      required: ["address", "signature"],
      description: "The challenge's info, with the address and the signature.",
    },
    summary: "Opens a session: two cookies, and a token for changes.",
  },
  {
    ...{ method: "GET", path: "/auth/session", access: "session", answer: ref("Session") },
    summary: "The session that the cookie names.",
  },
  {
    ...{ method: "POST", path: "/auth/refresh", access: "refresh", answer: ref("Session") },
    summary: "New cookies for a session.",
  },
  {
    ...{ method: "POST", path: "/auth/logout", access: "session", answer: ref("SignedOut") },
    summary: "Ends this session.",
  },
  {
    ...{ method: "POST", path: "/auth/logout-everywhere", access: "wallet", answer: ref("SignedOut") },
    summary: "Ends all of the wallet's sessions.",
  },
  {
    ...{ method: "GET", path: "/account/alerts", access: "wallet", answer: ref("AlertSettings") },
    summary: "Of what the account wants to be told, and where.",
  },
  {
    ...{ method: "PUT", path: "/account/alerts", access: "wallet", body: ref("NewAlertSettings") },
    answer: ref("AlertSettings"),
    summary: "Replaces the thresholds; a new webhook's secret is shown this once.",
  },
  {
    ...{ method: "DELETE", path: "/account/alerts", access: "wallet", answer: deleted("account") },
    summary: "Turns all alerts of the account off.",
  },
  {
    ...{
      method: "GET",
      path: "/account/alerts/recent",
      access: "wallet",
      answer: page("alerts", ref("Alert")),
    },
    summary: "The last alerts, and whether they were told.",
  },
  {
    ...{ method: "POST", path: "/account/alerts/test", access: "wallet", answer: ref("AlertTest") },
    summary: "Sends a test to the webhook.",
  },
  {
    ...{
      method: "POST",
      path: "/account/alerts/webhook/rotate",
      access: "wallet",
      answer: ref("AlertSettings"),
    },
    summary: "A new secret for the webhook, shown this once.",
  },
  {
    ...{ method: "GET", path: "/account/provider-keys", access: "wallet" },
    answer: page("provider_keys", ref("ProviderKey")),
    summary: "The account's own keys at upstreams.",
  },
  {
    ...{
      method: "PUT",
      path: "/account/provider-keys/:provider",
      access: "wallet",
      body: ref("NewProviderKey"),
    },
    answer: ref("ProviderKey"),
    summary: "Stores an own key at an upstream.",
  },
  {
    ...{
      method: "GET",
      path: "/account/provider-keys/:provider",
      access: "wallet",
      answer: ref("ProviderKey"),
    },
    summary: "One of them; of the key itself the last four characters.",
  },
  {
    ...{ method: "DELETE", path: "/account/provider-keys/:provider", access: "wallet" },
    answer: deleted("account", "provider"),
    summary: "Calls go out on the service's key again.",
  },
];

/** By this name and mark crawlers tell a sign-in by wallet from an API key. */
const SIGN_IN = "siwx";
const MARK = { "x-agentcash-auth-kind": SIGN_IN };

/** How one signs in. */
export function accountSecuritySchemes({ session, refresh }: SessionCookies): JsonObject {
  const inCookie = (name: string) => ({ type: "apiKey", in: "cookie", name, ...MARK });
  return {
    [SIGN_IN]: {
      ...{ type: "apiKey", in: "header", name: "SIGN-IN-WITH-X", ...MARK },
      description:
        "One proof for one request: base64 of the challenge's info with address and signature (x402 sign-in-with-x).",
    },
    session: { ...inCookie(session), description: "A session, which POST /auth/verify opens." },
    csrf: {
      ...{ type: "apiKey", in: "header", name: "X-CSRF-Token", ...MARK },
      description: "The session's csrf_token, for everything but GET, from the service's own origin.",
    },
    refresh: inCookie(refresh),
  };
}

export function accountSchemas(): JsonObject {
  return ACCOUNT_SCHEMAS;
}

/** The operation as OpenAPI has it, but for its id. */
export function accountOperation(operation: AccountOperation): JsonObject {
  const { path, summary, query = [], repeatable = false, body, status = "200", answer } = operation;
  const parameters = [
    ...pathParams(path).map((name) => parameter(name, "path")),
    ...query.map((name) => parameter(name, "query")),
    ...(repeatable ? [parameter("Idempotency-Key", "header")] : []),
  ];
  return {
    summary,
    tags: ["account"],
    security: securityOf(operation),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: json(body) } }),
    responses: {
      [status]: { description: "The answer.", content: json(answer) },
      default: { description: "An error; `error.code` says which.", content: json(ref("Error")) },
    },
  };
}

function securityOf({ method, access }: AccountOperation): readonly JsonObject[] {
  if (access === "open") return [];
  if (access === "refresh") return [{ refresh: [] }];
  const bySession = method === "GET" ? { session: [] } : { session: [], csrf: [] };
  return access === "session" ? [bySession] : [{ [SIGN_IN]: [] }, bySession];
}

function parameter(name: string, place: "path" | "query" | "header"): JsonObject {
  return { name, in: place, required: place === "path", schema: { type: "string" } };
}

function json(schema: JsonObject): JsonObject {
  return { "application/json": { schema } };
}
