import type { Config, FacilitatorConfig, NetworkName } from "./config.ts";
import type { Problems } from "./config-problems.ts";
import type { ConfigInput } from "./config-schema.ts";
import { isLoopback, isPlainHttp } from "./config-values.ts";

const NETWORKS = {
  local: {
    caip2: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
  },
  solana: {
    caip2: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
  },
  "solana-devnet": {
    caip2: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    asset: "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
  },
} as const satisfies Record<NetworkName, { readonly caip2: string; readonly asset: string }>;

/** The settings whose meaning hangs on the network. */
export type NetworkSettings = Pick<
  Config,
  "network" | "caip2" | "asset" | "payTo" | "host" | "publicUrl" | "rpcUrls" | "facilitators"
>;

/**
 * Decides the network and reports what it lacks. Local mode brings its own facilitator and RPC, so it uses neither
 * setting; without a network's name, their being set means that somebody forgot to name one.
 */
export function resolveNetwork(input: ConfigInput, problems: Problems): NetworkSettings {
  const { env, file } = input;
  const named = env.NETWORK ?? file.network;
  const network = named ?? "local";
  const local = network === "local";
  const host = env.HOST ?? (local ? "127.0.0.1" : "0.0.0.0");
  const settings = {
    payTo: env.PAY_TO ?? file.payTo,
    facilitators: facilitatorsOf(input, problems),
    rpcUrl: env.RPC_URL ?? file.rpcUrl,
    publicUrl: env.PUBLIC_URL ?? file.publicUrl,
  };
  if (!problems.touches("NETWORK") && !problems.touches("network")) {
    if (local) reportLocalRules(input, host, named, problems);
    else reportPublicRules(input, network, settings, problems);
  }
  if (settings.payTo === NETWORKS[network].asset) {
    problems.add(env.PAY_TO === undefined ? "payTo" : "PAY_TO", "is the USDC mint, not a wallet");
  }
  return {
    network,
    ...NETWORKS[network],
    host,
    payTo: settings.payTo,
    publicUrl: settings.publicUrl ?? `http://${host.includes(":") ? `[${host}]` : host}:${env.PORT}`,
    rpcUrls: local ? [] : (settings.rpcUrl ?? []),
    facilitators: local ? [] : settings.facilitators,
  };
}

/** One or a list: which of them an operator meant who wrote both, nobody can tell. */
function facilitatorsOf({ env, file }: ConfigInput, problems: Problems): readonly FacilitatorConfig[] {
  const url = env.FACILITATOR_URL ?? file.facilitator;
  if (file.facilitators !== undefined && url !== undefined) {
    const other = env.FACILITATOR_URL === undefined ? "facilitator" : "FACILITATOR_URL";
    problems.add("facilitators", `is set beside ${other}; keep one of them`);
  }
  return file.facilitators ?? (url === undefined ? [] : [{ url }]);
}

/** Local mode serves for faucet money, so it must not be reached from outside, nor be entered by an omission. */
function reportLocalRules(
  { env, file }: ConfigInput,
  host: string,
  named: string | undefined,
  problems: Problems,
): void {
  if (!isLoopback(host)) {
    problems.add("HOST", "local mode serves for play money and listens on loopback only (127.0.0.1)");
  }
  if (named !== undefined) return;
  const choose = "say which network this is: solana, solana-devnet or local";
  if (env.NODE_ENV === "production") problems.add("network", `NODE_ENV is production; ${choose}`);
  const hints = [
    [env.FACILITATOR_URL ?? file.facilitator ?? file.facilitators, "a facilitator"],
    [env.RPC_URL ?? file.rpcUrl, "an RPC URL"],
    [env.CDP_API_KEY_ID ?? env.CDP_API_KEY_SECRET, "a CDP key"],
  ];
  for (const [value, what] of hints)
    if (value !== undefined) problems.add("network", `${what} is set; ${choose}`);
}

interface PublicSettings {
  readonly payTo: string | undefined;
  readonly facilitators: readonly FacilitatorConfig[];
  readonly rpcUrl: readonly string[] | undefined;
  readonly publicUrl: string | undefined;
}

/** What a network with other people on it needs. */
function reportPublicRules(
  { env, file }: ConfigInput,
  network: NetworkName,
  settings: PublicSettings,
  problems: Problems,
): void {
  const need = (value: unknown, path: string, variable: string, reason = "") => {
    if (value !== undefined || problems.touches(path) || problems.touches(variable)) return;
    problems.add(path, `is missing${path === variable ? "" : ` (or set ${variable})`}${reason}`);
  };
  const { facilitators, publicUrl } = settings;
  need(settings.payTo, "payTo", "PAY_TO");
  if (!problems.touches("facilitators")) need(facilitators[0], "facilitator", "FACILITATOR_URL");
  need(settings.rpcUrl, "rpcUrl", "RPC_URL");
  need(publicUrl, "publicUrl", "PUBLIC_URL");
  need(env.FAREBOX_MEMO_SECRET, "FAREBOX_MEMO_SECRET", "FAREBOX_MEMO_SECRET");
  if (facilitators.some(({ url }) => url === "coinbase")) {
    need(env.CDP_API_KEY_ID, "CDP_API_KEY_ID", "CDP_API_KEY_ID", ": facilitator coinbase needs it");
    need(
      env.CDP_API_KEY_SECRET,
      "CDP_API_KEY_SECRET",
      "CDP_API_KEY_SECRET",
      ": facilitator coinbase needs it",
    );
  }
  for (const [index, { url }] of facilitators.entries()) {
    if (network !== "solana" || url === "coinbase" || !isPlain(url)) continue;
    const single = env.FACILITATOR_URL === undefined ? "facilitator" : "FACILITATOR_URL";
    const path = file.facilitators === undefined ? single : ["facilitators", index];
    problems.add(path, "must be https: payments go through it");
  }
  if (isPlain(publicUrl)) {
    problems.add(
      env.PUBLIC_URL === undefined ? "publicUrl" : "PUBLIC_URL",
      "must be https unless it is loopback",
    );
  }
}

function isPlain(url: string | undefined): boolean {
  return url !== undefined && isPlainHttp(url);
}
