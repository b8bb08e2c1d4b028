import type { Route } from "./routes.ts";

/** `local` = the embedded chain under mainnet's CAIP-2 id; no real money. */
export type NetworkName = "local" | "solana" | "solana-devnet";

/** An OpenAI-compatible server, or any HTTP API, that we forward to. */
export interface UpstreamConfig {
  readonly name: string;
  /** Without a trailing slash. Undefined: the built-in model `farebox/echo` (local mode only). */
  readonly url: string | undefined;
  /** Sent as `Authorization: Bearer`; secret, from the environment only. */
  readonly apiKey: string | undefined;
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
  readonly rpcUrl: string | undefined;
  /** A URL, or `coinbase`. Undefined only in local mode. */
  readonly facilitator: string | undefined;
  readonly cdpKeyId: string | undefined;
  readonly cdpKeySecret: string | undefined;
  readonly verifyTimeoutMs: number;
  readonly settleTimeoutMs: number;
  readonly localnetRpcPort: number;
  readonly localnetFacilitatorPort: number;
  readonly dataDir: string;
  /** MAC secrets for tokens, newest first; one or two. Empty only in local mode (made in the data directory). */
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
  readonly drainMs: number;
  readonly logLevel: string;
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

export interface ServiceConfig {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly contactEmail: string | undefined;
  /** For agents: how to use this service, at most 4,000 characters. */
  readonly guidance: string | undefined;
}
