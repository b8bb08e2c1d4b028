import type { MicroUsd } from "./money.ts";
import type { Route } from "./routes.ts";
import type { ServerLimits } from "./server-limits.ts";

/** `local` = the embedded chain under mainnet's CAIP-2 id; no real money. */
export type NetworkName = "local" | "solana" | "solana-devnet";

/** An OpenAI-compatible server, or any HTTP API, that we forward to. */
export interface UpstreamConfig {
  readonly name: string;
  /** Without a trailing slash. Undefined: the built-in model `farebox/echo` (local mode only). */
  readonly url: string | undefined;
  /** Sent as `Authorization: Bearer`; secret, from the environment only. */
  readonly apiKey: string | undefined;
  /** Customers' own keys are sent to it, for a fee. It must check them: one that serves whoever comes would do its work for the fee. */
  readonly takesOwnKeys: boolean;
  /** Until the response head, ms. */
  readonly headersTimeoutMs: number;
  /** Between two chunks of the body, ms. */
  readonly bodyTimeoutMs: number;
}

/** A public model name -> an upstream and the name it has there. */
export interface ModelConfig {
  readonly name: string;
  readonly upstream: string;
  readonly model: string;
  /** Most output tokens of one call; larger requests are clamped. */
  readonly maxOutput: number;
  /** Undefined: the route's flat price. */
  readonly pricing: ModelPricing | undefined;
  /** The most prompt tokens that one image can count for. */
  readonly imageTokens: number;
}

/** What a call of a model costs, instead of its route's flat price. */
export type ModelPricing =
  /** MicroUsd for a million tokens. */
  | { readonly kind: "tokens"; readonly input: MicroUsd; readonly output: MicroUsd }
  | { readonly kind: "call"; readonly price: MicroUsd };

/** Who verifies and settles payments. */
export interface FacilitatorConfig {
  /** A URL, or `coinbase`. */
  readonly url: string;
  /** Its own time limits, ms. */
  readonly verifyTimeoutMs?: number | undefined;
  readonly settleTimeoutMs?: number | undefined;
}

/** Everything the process was told, parsed once and frozen. */
export interface Config {
  readonly network: NetworkName;
  /** CAIP-2 of `network`; `local` has mainnet's. */
  readonly caip2: string;
  /** The USDC mint of `network`, base58. */
  readonly asset: string;
  /** The merchant's wallet, base58. In local mode made once in the data directory. */
  readonly payTo: string | undefined;
  readonly host: string;
  readonly port: number;
  /** Metrics, off the public port. Undefined: no admin listener. */
  readonly adminPort: number | undefined;
  readonly adminHost: string;
  /** Base of every URL we publish; never taken from `Host`. Without a trailing slash. */
  readonly publicUrl: string;
  /** Solana nodes, the one to ask first in front; one or two. Empty in local mode until the chain has started. May hold keys. */
  readonly rpcUrls: readonly string[];
  /** In order of preference, each once. Empty only in local mode. */
  readonly facilitators: readonly FacilitatorConfig[];
  readonly cdpKeyId: string | undefined;
  readonly cdpKeySecret: string | undefined;
  /** Of a facilitator that has none of its own. */
  readonly verifyTimeoutMs: number;
  readonly settleTimeoutMs: number;
  readonly localnetRpcPort: number;
  readonly localnetFacilitatorPort: number;
  readonly dataDir: string;
  readonly ledger: LedgerConfig;
  /** MAC secrets for tokens: the first signs, all are accepted; one or two. Empty only in local mode (made in the data directory). */
  readonly memoSecrets: readonly string[];
  readonly payment: PaymentConfig;
  readonly service: ServiceConfig;
  readonly upstreams: readonly UpstreamConfig[];
  readonly models: readonly ModelConfig[];
  /** The model used when `/agent` names none. Empty only if no endpoint that uses models is on. */
  readonly defaultModel: string;
  /** Local mode without `models:`: its names stand for whatever the default upstream runs (config-models.ts, `withUpstream`). */
  readonly modelsAssumed?: boolean;
  readonly routes: readonly Route[];
  readonly bodyLimitBytes: number;
  readonly keys: KeysConfig;
  readonly jwt: JwtConfig | undefined;
  readonly ownKeys: OwnKeysConfig;
  /** Undefined: no credit is sold, and no keys. */
  readonly topUp: TopUpConfig | undefined;
  /** What credit can be paid in besides USDC; empty where none is sold. */
  readonly topUpTokens: readonly TopUpToken[];
  /** Secrets behind sign-ins and sessions, the first signs; empty: the account API is off. `id` is derived from the secret. */
  readonly sessionKeys: readonly { readonly id: string; readonly key: Buffer }[];
  /** The console for people at `/console`, where the account API is on. */
  readonly console: boolean;
  readonly receipts: ReceiptsConfig;
  readonly alerts: AlertsConfig;
  readonly flood: FloodConfig;
  readonly server: ServerLimits;
  /** The operator's token for the admin API, at least 32 characters; undefined: the API is off. */
  readonly adminToken: string | undefined;
  readonly drainMs: number;
  readonly logLevel: string;
}

/** Where records are kept. */
export interface LedgerConfig {
  /** `redis://…`, `rediss://…`, `redis-cluster://a:6379,b:6379`; may hold a password. Undefined: SQLite in the data directory. */
  readonly url: string | undefined;
  /** Use a Redis that may forget what it acknowledged. */
  readonly acceptDataLoss: boolean;
  /** Most bytes of stored answers in Redis, of all calls together. */
  readonly responseBytes: number;
}

export interface PaymentConfig {
  /** Accept protocol v1 (`X-PAYMENT`) and answer 402 with the v1 envelope as body. */
  readonly v1: boolean;
  /** A challenge's token is valid for a new payment this long. */
  readonly tokenTtlMs: number;
  /** `maxTimeoutSeconds` of the requirements. */
  readonly maxTimeoutSeconds: number;
  /** From verify to forced settlement (design: settle-by deadline). */
  readonly settleByMs: number;
  readonly leaseMs: number;
  readonly maxInFlightPerPayer: number;
  /** How long a payer that abandoned calls gets upfront terms. */
  readonly strikeMs: number;
  readonly storeResponses: boolean;
  readonly storeResponseMaxBytes: number;
  readonly storeResponseTtlMs: number;
  readonly paymentIdentifier: "off" | "optional" | "required";
  /** Media types that open the gate at their first event. */
  readonly streamingTypes: readonly string[];
  /** Bytes that may wait in the gate before it must open. */
  readonly gateBytes: number;
}

export interface KeysConfig {
  /** New keys get the first one; every one is accepted. */
  readonly prefixes: readonly string[];
  /** Secret of the HMAC under which secrets are stored; undefined: plain SHA-256. */
  readonly pepper: string | undefined;
  /** Start although the pepper is another one than that of the keys there are. */
  readonly acceptVoidKeys: boolean;
  /** A hold that is not renewed ends after this long. */
  readonly holdLeaseMs: number;
  /** No call of a key runs longer. */
  readonly callTimeoutMs: number;
}

/** What can be paid in at once, MicroUsd. Invariant: `least <= usual <= most`. */
export interface TopUpConfig {
  readonly least: MicroUsd;
  readonly most: MicroUsd;
  /** Where the request names no amount. */
  readonly usual: MicroUsd;
}

/** A token besides USDC that credit can be paid in. */
export interface TopUpToken {
  readonly symbol: string;
  /** Base58; never USDC's. */
  readonly mint: string;
  readonly decimals: number;
  /** Undefined: the operator named none, so the token is not offered. */
  readonly price: TokenPrice | undefined;
  /** An older price is none. */
  readonly maxAgeMs: number;
  /** So many ten-thousandths are taken off the price. */
  readonly haircutBasisPoints: bigint;
}

/** Dollars for one whole token: `numerator / denominator`, exactly. Both are above 0. */
export interface TokenPrice {
  readonly numerator: bigint;
  /** A power of ten. */
  readonly denominator: bigint;
  /** When it was found, ms since 1970. */
  readonly at: number;
}

/** First-party tokens. */
export interface JwtConfig {
  /** `https://…`, or the path of a local JWKS file. Exactly one is set. */
  readonly jwksUrl: string | undefined;
  readonly jwksFile: string | undefined;
  readonly issuer: string;
  readonly audience: string;
  /** The token's `typ` header. */
  readonly typ: string;
  /** `account`: billed to the account that `accountClaim` names; `free`: not billed. */
  readonly billing: "account" | "free";
  readonly accountClaim: string;
}

/** Customers' own upstream keys. */
export interface OwnKeysConfig {
  /** Newest first; empty: none can be stored. `id` is derived from the key. */
  readonly masterKeys: readonly { readonly id: string; readonly key: Buffer }[];
  /** What a call on an own key costs: so many ten-thousandths of its price, or so much a call. */
  readonly fee:
    | { readonly kind: "share"; readonly basisPoints: bigint }
    | { readonly kind: "call"; readonly price: MicroUsd };
}

/** Signed receipts for payments by wallet. */
export interface ReceiptsConfig {
  /** False: none are given; the keys stay published. */
  readonly enabled: boolean;
  /** Secrets behind the signing keys, the first signs; empty: none are given. `id` is derived from the secret. */
  readonly keys: readonly { readonly id: string; readonly key: Buffer }[];
  /** Public keys that signed once and stay published: `x` of their JWKs. */
  readonly formerKeys: readonly string[];
  /** Name the transaction in them. */
  readonly transaction: boolean;
}

export interface AlertsConfig {
  /** Undefined: nobody is told. */
  readonly webhookUrl: string | undefined;
  readonly webhookSecret: string | undefined;
  /** Allow a webhook at a private or loopback address. */
  readonly allowPrivate: boolean;
  /** An account below this is low. */
  readonly lowBalance: MicroUsd | undefined;
}

/** Limits on requests that carry bad credentials or payments. */
export interface FloodConfig {
  /** Refused credentials of one client address in a minute; more are 429 unheard. */
  readonly badCredentialsPerMinute: number;
  /** Refused payments of one client address, and of one wallet, in a minute; new ones are then 429 unasked. */
  readonly refusedPaymentsPerMinute: number;
  /** Proxies whose X-Forwarded-For is believed: addresses or CIDR ranges. */
  readonly trustedProxies: readonly string[];
}

export interface ServiceConfig {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly contactEmail: string | undefined;
  /** For agents: how to use this service, at most 4,000 characters. */
  readonly guidance: string | undefined;
}
