import { resolve } from "node:path";
import { z } from "zod";
import type { NetworkName } from "./config.ts";
import { floodConfig } from "./config-keyed.ts";
import { resolveNetwork } from "./config-networks.ts";
import { checkOptions, createProblems, type Problem, parseInput, throwProblems } from "./config-problems.ts";
import { ledgerConfig, paymentConfig } from "./load-config.ts";
import type { PaymentSettings } from "./open-payments.ts";
import { callback } from "./sold-route.ts";

/**
 * What a library user must say; the rest has the gateway's defaults (docs/configuration.md). What is read from the environment may be
 * undefined: then it is left out, or named as missing.
 */
export interface PaywallOptions {
  /** `local`: the chain that `npm start` runs, at its default ports unless `rpcUrl` and `facilitator` say otherwise. */
  readonly network: NetworkName;
  /** The merchant's wallet, base58. */
  readonly payTo: string;
  /** Base of every URL in the 402s; never taken from `Host`. */
  readonly publicUrl: string;
  /** `coinbase`, or a URL. */
  readonly facilitator?: string | undefined;
  /** Several of them, in order of preference, instead of `facilitator`. */
  readonly facilitators?: readonly string[];
  /** Needed for finding out about settlements whose outcome is unknown. One URL, or two: the second is asked where the first fails. */
  readonly rpcUrl?: string | readonly string[] | undefined;
  /** At least 32 characters, shared by all processes behind one URL; while rotating `old,new` in all of them, then `new,old`. */
  readonly memoSecret: string | undefined;
  readonly cdpKeyId?: string | undefined;
  readonly cdpKeySecret?: string | undefined;
  /** Where the ledger is. Default `.farebox`. */
  readonly dataDir?: string | undefined;
  /** Redis instead, for several processes: `redis://…` or `redis-cluster://a,b,c`. */
  readonly ledgerUrl?: string | undefined;
  readonly serviceName?: string;
  /** As `payment:` of farebox.yaml, e.g. `{ storeResponses: false, settleBy: "30s" }`. */
  readonly payment?: Readonly<Record<string, unknown>>;
  /** As `limits.body` of farebox.yaml. Default `1MiB`. */
  readonly bodyLimit?: string;
  /** As `limits.refusedPaymentsPerMinute` of farebox.yaml. Default 60. */
  readonly refusedPaymentsPerMinute?: number;
  /** As `limits.trustedProxies` of farebox.yaml: the proxies in front whose `X-Forwarded-For` is believed. Default none. */
  readonly trustedProxies?: readonly string[];
  readonly v1?: boolean;
  readonly logLevel?: "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";
  readonly onFatal?: (error: Error) => void;
}

const LOCAL_FACILITATOR = "http://127.0.0.1:4022";
const LOCAL_RPC = "http://127.0.0.1:8899";

/** The names, and what the gateway's schema does not see of them. */
const optionsSchema = z.strictObject({
  network: z.enum(["local", "solana", "solana-devnet"]),
  payTo: z.string(),
  publicUrl: z.string(),
  facilitator: z.unknown().optional(),
  facilitators: z.unknown().optional(),
  rpcUrl: z.unknown().optional(),
  memoSecret: z.string(),
  cdpKeyId: z.string().optional(),
  cdpKeySecret: z.string().optional(),
  dataDir: z.string().optional(),
  ledgerUrl: z.string().optional(),
  serviceName: z.unknown().optional(),
  payment: z.unknown().optional(),
  bodyLimit: z.unknown().optional(),
  refusedPaymentsPerMinute: z.unknown().optional(),
  trustedProxies: z.unknown().optional(),
  v1: z.unknown().optional(),
  logLevel: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).optional(),
  onFatal: callback(),
} satisfies Record<keyof PaywallOptions, z.ZodType>);

/** Where the gateway's schema has an option under another name. */
const OPTION_NAMES: readonly (readonly [setting: string, option: string])[] = [
  ["FAREBOX_MEMO_SECRET", "memoSecret"],
  ["FAREBOX_DATA_DIR", "dataDir"],
  ["LEDGER_URL", "ledgerUrl"],
  ["CDP_API_KEY_ID", "cdpKeyId"],
  ["CDP_API_KEY_SECRET", "cdpKeySecret"],
  ["service.name", "serviceName"],
  ["limits.body", "bodyLimit"],
  ["limits.refusedPaymentsPerMinute", "refusedPaymentsPerMinute"],
  ["limits.trustedProxies", "trustedProxies"],
  ["protocol.v1", "v1"],
];

/** A problem as a caller of `createPaywall` knows it, who sets no variables. */
function asOption({ path, message }: Problem): Problem {
  const [setting = "", option = ""] =
    OPTION_NAMES.find(([name]) => path.startsWith(name) && /^(?:$|[.[])/.test(path.slice(name.length))) ?? [];
  return { path: option + path.slice(setting.length), message: message.replace(/ \(or set [A-Z_]+\)/, "") };
}

/** What is wrong, each once: what the names and types say, then what the values do. */
function listProblems(first: readonly Problem[], second: readonly Problem[]): readonly Problem[] {
  const known = new Set(first.map(({ path }) => path));
  return [...first, ...second.map(asOption).filter(({ path }) => !known.has(path))];
}

/** Checks the options by the gateway's own schema. Throws one Error that lists every problem. */
export function readPaywallOptions(options: PaywallOptions): PaymentSettings {
  const named = createProblems();
  checkOptions(optionsSchema, options, named);
  if (named.touches("(options)")) throwProblems("createPaywall", named.list);
  const problems = createProblems();
  const local = options.network === "local";
  const useLocal = local && options.facilitators === undefined;
  const facilitator = options.facilitator ?? (useLocal ? LOCAL_FACILITATOR : undefined);
  const rpcUrl = options.rpcUrl ?? (local ? LOCAL_RPC : undefined);
  const env = defined({
    FAREBOX_MEMO_SECRET: options.memoSecret,
    FAREBOX_DATA_DIR: options.dataDir,
    LEDGER_URL: options.ledgerUrl,
    CDP_API_KEY_ID: options.cdpKeyId,
    CDP_API_KEY_SECRET: options.cdpKeySecret,
  });
  const file = defined({
    network: options.network,
    payTo: options.payTo,
    publicUrl: options.publicUrl,
    facilitator,
    facilitators: options.facilitators,
    rpcUrl,
    payment: options.payment,
    service: options.serviceName === undefined ? undefined : { name: options.serviceName },
    limits: defined({
      body: options.bodyLimit,
      refusedPaymentsPerMinute: options.refusedPaymentsPerMinute,
      trustedProxies: options.trustedProxies,
    }),
    protocol: options.v1 === undefined ? undefined : { v1: options.v1 },
  });
  const input = parseInput(env, file, problems);
  const network = resolveNetwork(input, problems);
  throwProblems("createPaywall", listProblems(named.list, problems.list));
  return {
    ...network,
    // Local mode leaves them out for the gateway, which brings its own.
    facilitators: input.file.facilitators ?? (facilitator === undefined ? [] : [{ url: facilitator }]),
    rpcUrls: input.file.rpcUrl ?? [],
    cdpKeyId: input.env.CDP_API_KEY_ID,
    cdpKeySecret: input.env.CDP_API_KEY_SECRET,
    verifyTimeoutMs: input.file.timeouts.verify,
    settleTimeoutMs: input.file.timeouts.settle,
    dataDir: resolve(input.env.FAREBOX_DATA_DIR),
    ledger: ledgerConfig(input),
    memoSecrets: input.env.FAREBOX_MEMO_SECRET ?? [],
    payment: paymentConfig(input.file),
    bodyLimitBytes: input.file.limits.body,
    flood: floodConfig(input.file),
    service: input.file.service,
    models: [],
  };
}

function defined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
