import { z } from "zod";
import {
  addressRange,
  fee,
  keyPrefix,
  masterKeys,
  publicKey,
  secret,
  tokenPrice,
} from "./config-key-values.ts";
import { topUpTokens } from "./config-topup-tokens.ts";
import {
  address,
  baseUrl,
  duration,
  facilitator,
  facilitators,
  flag,
  integer,
  ledgerUrl,
  price,
  rpcUrls,
  secrets,
  size,
  urlWithQuery,
} from "./config-values.ts";

const name = z.string().regex(/^[A-Za-z0-9][\w-]*$/, {
  error: "a name has letters, digits, - and _",
});
const tag = z.string().min(1).max(32);
const builtInPrice = z.union([price(), z.null(), z.literal(false)], {
  error: 'write a price such as "$0.02", or null to switch the endpoint off',
});

const paymentSchema = z.strictObject({
  tokenTtl: duration("10s", "1d").default(300_000),
  settleBy: duration("1s", "50s").default(30_000),
  maxInFlightPerPayer: integer(1, 10_000).default(8),
  strikeFor: duration("0s", "7d").default(600_000),
  storeResponses: flag().default(true),
  storeResponseMax: size("1KiB", "16MiB").default(65_536),
  storeResponseFor: duration("1s", "1d").default(600_000),
  storeResponsesTotal: size("1MiB", "64GiB").default(268_435_456),
  paymentIdentifier: z.enum(["off", "optional", "required"]).default("optional"),
  streamingTypes: z
    .array(
      z.string().regex(/^[\w.+-]+\/[\w.+-]+$/, { error: "write a media type such as text/event-stream" }),
    )
    .default(["text/event-stream", "application/x-ndjson"]),
  gate: size("1KiB", "16MiB").default(262_144),
});

const serviceSchema = z.strictObject({
  name: z.string().min(1).max(32).default("Farebox"),
  description: z.string().min(1).max(500).default("An AI agent endpoint, sold by the call over x402."),
  tags: z.array(tag).max(5).default(["ai", "agent"]),
  contactEmail: z.email().optional(),
  guidance: z.string().max(4_000).optional(),
});

const upstreamSchema = z.strictObject({
  url: baseUrl().optional(),
  apiKey: z.string().min(1).optional(),
  ownKeys: z.boolean().optional(),
  headersTimeout: duration("100ms", "1h").default(60_000),
  bodyTimeout: duration("100ms", "1h").default(120_000),
});

const modelSchema = z.strictObject({
  upstream: z.string().default("default"),
  model: z.string().min(1).optional(),
  maxOutput: integer(1, 10_000_000).default(4_096),
  input: tokenPrice().optional(),
  output: tokenPrice().optional(),
  price: price().optional(),
  imageTokens: integer(1, 10_000_000).default(50_000),
});

const tiers = z
  .array(z.enum(["x402", "key", "jwt"]))
  .min(1)
  .refine((list) => new Set(list).size === list.length, { error: "names a tier twice" });

const keysSchema = z.strictObject({
  prefixes: z
    .array(keyPrefix())
    .min(1)
    .refine((list) => new Set(list).size === list.length, { error: "names a prefix twice" })
    .default(["sk_farebox_"]),
  callTimeout: duration("1s", "1d").default(900_000),
  holdLease: duration("1s", "1h").default(60_000),
});

const jwtSchema = z.strictObject({
  jwksUrl: urlWithQuery().optional(),
  jwksFile: z.string().min(1).optional(),
  issuer: z.string().min(1).max(500),
  audience: z.string().min(1).max(500),
  typ: z
    .string()
    .min(1)
    .max(100)
    .refine((typ) => !/^(?:application\/)?jwt$/i.test(typ), {
      error: "must be a type of its own, such as farebox+jwt: any token may be called JWT",
    })
    .default("farebox+jwt"),
  billing: z.enum(["account", "free"]).default("account"),
  accountClaim: z.string().min(1).max(100).default("account"),
});

const topupSchema = z.strictObject({
  min: price().optional(),
  max: price().default(1_000_000_000n),
  default: price().optional(),
  tokens: topUpTokens(),
});

const receiptsSchema = z.strictObject({
  enabled: flag().default(true),
  transaction: flag().default(false),
  formerKeys: z.array(publicKey()).max(100).default([]),
});

const alertsSchema = z.strictObject({
  webhookUrl: urlWithQuery().optional(),
  allowPrivate: flag().default(false),
  lowBalance: z
    .union([price(), z.null()], { error: 'write an amount such as "$1.00", or null for no such alert' })
    .default(1_000_000n),
});

const routeSchema = z.strictObject({
  upstream: z.string(),
  price: price().meta({ standIn: "$1" }),
  tiers: tiers.default(["x402"]),
  settle: z.enum(["after", "upfront"]).default("after"),
  description: z.string().min(1).max(500).optional(),
  mimeType: z.string().min(1).default("application/json"),
  tags: z.array(tag).max(5).default([]),
  input: z.record(z.string(), z.unknown()).default({ type: "object" }),
  output: z.unknown().optional(),
});

const network = z.enum(["local", "solana", "solana-devnet"]);

const fileSchema = z.strictObject({
  network: network.optional(),
  payTo: address().optional(),
  publicUrl: baseUrl().optional(),
  rpcUrl: rpcUrls().optional(),
  facilitator: facilitator().optional(),
  facilitators: facilitators().optional(),
  timeouts: z
    .strictObject({
      verify: duration("100ms", "50s").default(10_000),
      settle: duration("1s", "2m").default(35_000),
    })
    .prefault({}),
  protocol: z.strictObject({ v1: flag().default(true) }).prefault({}),
  payment: paymentSchema.prefault({}),
  limits: z
    .strictObject({
      body: size("1KiB", "256MiB").default(1_048_576),
      headersTimeout: duration("100ms", "5m").default(20_000),
      requestTimeout: duration("100ms", "1h").default(60_000),
      connections: integer(1, 1_000_000).default(16_384),
      badCredentialsPerMinute: integer(1, 1_000_000).default(60),
      refusedPaymentsPerMinute: integer(1, 1_000_000).default(60),
      trustedProxies: z.array(addressRange()).default([]),
    })
    .prefault({}),
  tiers: tiers.optional(),
  keys: keysSchema.prefault({}),
  jwt: jwtSchema.optional(),
  byok: z.strictObject({ fee: fee().prefault("5%") }).prefault({}),
  topup: topupSchema.nullable().optional(),
  console: flag().default(true),
  receipts: receiptsSchema.prefault({}),
  alerts: alertsSchema.prefault({}),
  drain: duration("0s", "10m").default(25_000),
  service: serviceSchema.prefault({}),
  upstreams: z.record(name, upstreamSchema).default({}),
  models: z.record(z.string().min(1).max(200), modelSchema).optional(),
  defaultModel: z.string().optional(),
  prices: z
    .strictObject({
      agent: builtInPrice.default(20_000n),
      chat: builtInPrice.default(20_000n),
      embeddings: builtInPrice.default(2_000n),
    })
    .prefault({}),
  routes: z.record(z.string(), routeSchema).default({}),
});

const port = integer(0, 65_535);

const envSchema = z.object({
  PORT: port.default(4_020),
  HOST: z.string().optional(),
  ADMIN_PORT: port.optional(),
  ADMIN_HOST: z.string().default("127.0.0.1"),
  PUBLIC_URL: baseUrl().optional(),
  NETWORK: network.optional(),
  PAY_TO: address().optional(),
  RPC_URL: rpcUrls().optional(),
  FACILITATOR_URL: facilitator().optional(),
  CDP_API_KEY_ID: z.string().optional(),
  CDP_API_KEY_SECRET: z.string().optional(),
  UPSTREAM_URL: baseUrl().optional(),
  UPSTREAM_API_KEY: z.string().optional(),
  FAREBOX_DATA_DIR: z.string().default(".farebox"),
  FAREBOX_MEMO_SECRET: secrets().optional(),
  FAREBOX_KEY_PEPPER: secret().optional(),
  FAREBOX_ACCEPT_VOID_KEYS: flag().default(false),
  FAREBOX_MASTER_KEY: masterKeys().optional(),
  FAREBOX_SESSION_KEY: masterKeys().optional(),
  FAREBOX_RECEIPT_KEY: masterKeys().optional(),
  FAREBOX_WEBHOOK_SECRET: secret().optional(),
  FAREBOX_ADMIN_TOKEN: secret().optional(),
  LEDGER_URL: ledgerUrl().optional(),
  LEDGER_ACCEPT_DATA_LOSS: flag().default(false),
  LOCALNET_RPC_PORT: port.default(8_899),
  LOCALNET_FACILITATOR_PORT: port.default(4_022),
  LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
  NODE_ENV: z.string().optional(),
});

/**
 * Everything the process can be told: the variables and the YAML file (after interpolation), each value parsed and
 * defaulted. What one value means for another (networks, references, duplicates) is load-config.ts's part.
 */
export const configSchema = z.object({ env: envSchema, file: fileSchema });

/** What {@link configSchema} yields. */
export type ConfigInput = z.output<typeof configSchema>;

export type RouteInput = z.output<typeof routeSchema>;
