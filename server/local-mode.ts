import { join } from "node:path";
import type { Localnet } from "../localnet/index.ts";
import type { Config } from "./config.ts";
import { DEFAULT_UPSTREAM, withUpstream } from "./config-models.ts";
import { prepareDataDirectory } from "./data-directory.ts";
import { localSecret, orLocalKey } from "./local-secrets.ts";
import { openOrClose } from "./open-or-close.ts";
import { detectModels } from "./proxy/detect-models.ts";
import { detectOllama, OLLAMA_URL } from "./proxy/detect-ollama.ts";

/** The embedded chain, as the process must close it. */
export interface LocalMode {
  readonly config: Config;
  readonly banner: string;
  close(): Promise<void>;
}

const USUAL_OLLAMA = { url: OLLAMA_URL, timeoutMs: 300 };
const UPSTREAM_TIMEOUT_MS = 2_000;
/** Where `pay` looks by itself (client/pay-network.ts). */
const USUAL_RPC = "http://127.0.0.1:8899";
const USUAL_FACILITATOR = "http://127.0.0.1:4022";

/**
 * Starts the embedded chain, its facilitator and faucet, and completes the configuration with them; rejects and leaves nothing open. The chain's code is
 * imported here and only now: a production image does not contain it.
 */
export async function startLocalMode(config: Config): Promise<LocalMode> {
  const { startLocalnet } = await importLocalnet();
  prepareDataDirectory(config.dataDir);
  const localnet = await startLocalnet({
    rpcPort: config.localnetRpcPort,
    facilitatorPort: config.localnetFacilitatorPort,
    dataDir: join(config.dataDir, "localnet"),
  });
  const close = () => localnet.close();
  const completed = await openOrClose(() => complete(config, localnet), close);
  return { config: completed, banner: bannerFor(completed), close };
}

async function complete(config: Config, localnet: Localnet): Promise<Config> {
  if (config.payTo !== undefined) {
    for (const mint of [localnet.asset, localnet.play]) await localnet.createTokenAccount(config.payTo, mint);
  }
  return {
    ...(await withWhateverRuns(config)),
    payTo: config.payTo ?? localnet.merchant,
    rpcUrls: [localnet.rpcUrl],
    facilitators: [{ url: localnet.facilitatorUrl }],
    memoSecrets:
      config.memoSecrets.length > 0 ? config.memoSecrets : [localSecret(config.dataDir, "memo-secret")],
    sessionKeys: orLocalKey(config.sessionKeys, config.dataDir, "session-key"),
    ownKeys: {
      ...config.ownKeys,
      masterKeys: orLocalKey(config.ownKeys.masterKeys, config.dataDir, "master-key"),
    },
    receipts: { ...config.receipts, keys: orLocalKey(config.receipts.keys, config.dataDir, "receipt-key") },
  };
}

async function importLocalnet(): Promise<typeof import("../localnet/index.ts")> {
  try {
    return await import("../localnet/index.ts");
  } catch (cause) {
    throw new Error(
      "local mode is not part of this installation (no embedded chain). Use a checkout, or set NETWORK to solana or solana-devnet.",
      { cause },
    );
  }
}

/**
 * Local mode's model names stand for whatever runs: the first model of the default upstream where it has a URL, else of an Ollama
 * on its standard port, else the built-in one. Other upstreams are not asked: no model is mapped to them unless the file says so.
 */
export async function withWhateverRuns(
  config: Config,
  ollama: { readonly url: string; readonly timeoutMs: number } = USUAL_OLLAMA,
): Promise<Config> {
  const named = config.upstreams.find(({ name }) => name === DEFAULT_UPSTREAM);
  if (named?.url !== undefined) {
    if (config.modelsAssumed !== true) return config;
    const [first] = (await detectModels(named.url, named.apiKey, UPSTREAM_TIMEOUT_MS)) ?? [];
    return first === undefined ? config : withUpstream(config, named.url, first);
  }
  const found = await detectOllama(ollama.url, ollama.timeoutMs);
  const model = found?.models[0];
  return model === undefined ? config : withUpstream(config, `${ollama.url}/v1`, model);
}

/** What `pay` must be told of a chain that is not at its usual ports. */
function whereabouts({ rpcUrls, facilitators }: Config): string {
  const [rpcUrl = USUAL_RPC] = rpcUrls;
  const { url = USUAL_FACILITATOR } = facilitators[0] ?? {};
  return [
    ...(rpcUrl === USUAL_RPC ? [] : [` --rpc ${rpcUrl}`]),
    ...(url === USUAL_FACILITATOR ? [] : [` --faucet ${url}/faucet`]),
  ].join("");
}

function topUpHint({ publicUrl, topUpTokens }: Config, where: string): readonly string[] {
  if (!topUpTokens.some(({ symbol }) => symbol === "PLAY")) return [];
  return [
    "  Or top up an account, in the play token:",
    `    npm run --silent pay -- ${publicUrl}/topup -X POST --asset PLAY --max-amount 100${where}`,
  ];
}

function bannerFor(config: Config): string {
  const where = whereabouts(config);
  const model = config.models.find((entry) => entry.name === config.defaultModel);
  return [
    "",
    "  Farebox, local mode. NO REAL MONEY MOVES: the chain, its USDC and the faucet live in this process.",
    "",
    `  gateway      ${config.publicUrl}`,
    `  facilitator  ${config.facilitators[0]?.url}   (faucet: POST /faucet)`,
    `  Solana RPC   ${config.rpcUrls.join(", ")}`,
    `  merchant     ${config.payTo}`,
    `  model        ${model?.model ?? config.defaultModel}`,
    "",
    "  Pay for a call from another terminal:",
    `    npm run --silent pay -- ${config.publicUrl}/agent -d '{"prompt":"Hello"}'${where}`,
    ...topUpHint(config, where),
    "",
  ].join("\n");
}
