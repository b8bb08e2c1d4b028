import { readFileSync } from "node:fs";
import { isAbsolute, relative, resolve } from "node:path";
import { withOfferedModels } from "./catalog.ts";
import type { Config, PaymentConfig } from "./config.ts";
import { readConfigTree } from "./config-file.ts";
import { resolveKeyedTier } from "./config-keyed.ts";
import { reportRouteUpstreams, resolveModels, resolveUpstreams } from "./config-models.ts";
import { type NetworkSettings, resolveNetwork } from "./config-networks.ts";
import { createProblems, type Problem, type Problems, parseInput } from "./config-problems.ts";
import {
  builtInRoutes,
  fileRoutes,
  reportDuplicates,
  reportLowPrices,
  reportTiers,
} from "./config-routes.ts";
import type { ConfigInput } from "./config-schema.ts";
import { resolveTopUp, topUpRoutes } from "./config-topup.ts";
import { resolveTopUpTokens } from "./config-topup-tokens.ts";

const DEFAULT_FILE = "farebox.yaml";

export interface LoadOptions {
  /** The environment; an empty variable counts as not set. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths start. */
  readonly cwd: string;
  /** From the command line; wins over FAREBOX_CONFIG. A file named in either way must exist. */
  readonly configPath?: string | undefined;
  /** Undefined: there is no such file. Default: the file system. */
  readonly readFile?: (path: string) => string | undefined;
}

export type LoadResult = { readonly config: Config } | { readonly problems: readonly Problem[] };

/** Reads a file as UTF-8; undefined if there is none. Throws what else the file system says. */
function readFileIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Variables and YAML file -> one frozen {@link Config}, or everything that is wrong with them at once.
 * A variable wins over the file's setting of the same meaning. Without any configuration: local mode.
 */
export function loadConfig(options: LoadOptions): LoadResult {
  const problems = createProblems();
  const env = Object.fromEntries(Object.entries(options.env).filter(([, value]) => value !== ""));
  const tree = readTree(options, env, problems);
  const input = parseInput(env, tree ?? {}, problems);
  // Without a readable file nothing can be said about what is missing.
  const config = tree === undefined ? undefined : resolveConfig(input, options.cwd, problems);
  if (config === undefined || problems.list.length > 0) return { problems: problems.list };
  return { config: deepFreeze(config) };
}

function readTree(
  { cwd, configPath, readFile }: LoadOptions,
  env: LoadOptions["env"],
  problems: Problems,
): unknown {
  const named = configPath ?? env["FAREBOX_CONFIG"];
  const path = resolve(cwd, named ?? DEFAULT_FILE);
  const name = shownPath(cwd, path);
  try {
    const text = (readFile ?? readFileIfAny)(path);
    if (text !== undefined) return readConfigTree(text, name, env, problems);
    if (named === undefined) return {};
    problems.add(name, "there is no such file");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
    problems.add(name, `cannot be read${code}`);
  }
  return undefined;
}

function shownPath(cwd: string, path: string): string {
  const inside = relative(cwd, path);
  return inside.startsWith("..") || isAbsolute(inside) ? path : inside;
}

function resolveConfig(input: ConfigInput, cwd: string, problems: Problems): Config {
  const { env, file } = input;
  const settings = resolveNetwork(input, problems);
  return {
    ...settings,
    ...resolveOffer(input, settings, problems),
    ...resolveKeyedTier(input, cwd, problems),
    port: env.PORT,
    adminPort: env.ADMIN_PORT,
    adminHost: env.ADMIN_HOST,
    cdpKeyId: env.CDP_API_KEY_ID,
    cdpKeySecret: env.CDP_API_KEY_SECRET,
    verifyTimeoutMs: file.timeouts.verify,
    settleTimeoutMs: file.timeouts.settle,
    localnetRpcPort: env.LOCALNET_RPC_PORT,
    localnetFacilitatorPort: env.LOCALNET_FACILITATOR_PORT,
    dataDir: resolve(cwd, env.FAREBOX_DATA_DIR),
    ledger: ledgerConfig(input),
    memoSecrets: env.FAREBOX_MEMO_SECRET ?? [],
    payment: paymentConfig(file),
    service: {
      ...file.service,
      contactEmail: file.service.contactEmail,
      guidance: file.service.guidance,
    },
    bodyLimitBytes: file.limits.body,
    console: file.console,
    server: serverLimits(file, problems),
    drainMs: file.drain,
    logLevel: env.LOG_LEVEL,
  };
}

/** Node refuses to start where a request must be complete before its headers. */
function serverLimits({ limits }: ConfigInput["file"], problems: Problems): Config["server"] {
  const { headersTimeout, requestTimeout, connections } = limits;
  if (headersTimeout > requestTimeout && !problems.touches("limits")) {
    problems.add("limits.headersTimeout", "must not be above limits.requestTimeout, which includes it");
  }
  return {
    headersTimeoutMs: headersTimeout,
    requestTimeoutMs: requestTimeout,
    maxConnections: connections,
  };
}

type Offer = Pick<
  Config,
  "routes" | "topUp" | "topUpTokens" | "upstreams" | "models" | "defaultModel" | "modelsAssumed"
>;

/** What is sold, and what stands behind it. */
function resolveOffer(input: ConfigInput, settings: NetworkSettings, problems: Problems): Offer {
  const { file } = input;
  const { network, facilitators } = settings;
  const local = network === "local";
  const own = fileRoutes(file, problems);
  const served = builtInRoutes(file);
  const coinbase = facilitators.some(({ url }) => url === "coinbase");
  const topUp = resolveTopUp(file, [...served, ...own], { local, coinbase }, problems);
  const tokens = resolveTopUpTokens(file, settings, topUp !== undefined, problems);
  const builtIns = [...served, ...topUpRoutes(topUp)];
  reportTiers(file, problems);
  reportDuplicates(builtIns, own, problems);
  reportLowPrices(file, own, coinbase, problems);
  const upstreams = resolveUpstreams(input, local, problems);
  reportRouteUpstreams(file, upstreams, problems);
  const models = resolveModels(input, upstreams, local, served.length > 0, problems);
  const routes = withOfferedModels([...builtIns, ...own], models);
  if (served.length + own.length === 0 && !problems.touches("routes"))
    problems.add("routes", "there is nothing to sell");
  return { routes, topUp, topUpTokens: tokens, upstreams, ...models };
}

/** Where records are kept. */
export function ledgerConfig({ env, file }: ConfigInput): Config["ledger"] {
  return {
    url: env.LEDGER_URL,
    acceptDataLoss: env.LEDGER_ACCEPT_DATA_LOSS,
    responseBytes: file.payment.storeResponsesTotal,
  };
}

/** The payment settings of a parsed file, in the units of {@link PaymentConfig}. */
export function paymentConfig({ payment, protocol }: ConfigInput["file"]): PaymentConfig {
  return {
    v1: protocol.v1,
    tokenTtlMs: payment.tokenTtl,
    maxTimeoutSeconds: 60,
    settleByMs: payment.settleBy,
    leaseMs: 15_000,
    maxInFlightPerPayer: payment.maxInFlightPerPayer,
    strikeMs: payment.strikeFor,
    storeResponses: payment.storeResponses,
    storeResponseMaxBytes: payment.storeResponseMax,
    storeResponseTtlMs: payment.storeResponseFor,
    paymentIdentifier: payment.paymentIdentifier,
    streamingTypes: payment.streamingTypes,
    gateBytes: payment.gate,
  };
}

function deepFreeze<Value>(value: Value): Value {
  // The bytes of a buffer cannot be frozen.
  if (ArrayBuffer.isView(value)) return value;
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
