import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { withUpstream } from "./config-models.ts";
import { detectOllama, OLLAMA_URL } from "./proxy/detect-ollama.ts";

/** The embedded chain, as the process must close it. */
export interface LocalMode {
  readonly config: Config;
  readonly banner: string;
  close(): Promise<void>;
}

const OLLAMA_TIMEOUT_MS = 300;

/**
 * Starts the embedded chain, its facilitator and faucet, and completes the configuration with them. The chain's code is
 * imported here and only now: a production image does not contain it.
 */
export async function startLocalMode(config: Config): Promise<LocalMode> {
  const { startLocalnet } = await import("../localnet/index.ts");
  const localnet = await startLocalnet({
    rpcPort: config.localnetRpcPort,
    facilitatorPort: config.localnetFacilitatorPort,
    dataDir: join(config.dataDir, "localnet"),
  });
  const completed: Config = {
    ...(await withOllama(config)),
    payTo: config.payTo ?? localnet.merchant,
    rpcUrl: localnet.rpcUrl,
    facilitator: localnet.facilitatorUrl,
    memoSecrets: config.memoSecrets.length > 0 ? config.memoSecrets : [localSecret(config.dataDir)],
  };
  if (config.payTo !== undefined) await localnet.createTokenAccount(config.payTo);
  return { config: completed, banner: bannerFor(completed), close: () => localnet.close() };
}

/** A running Ollama stands in for the built-in model, unless an upstream was named. */
async function withOllama(config: Config): Promise<Config> {
  if (config.upstreams.some((upstream) => upstream.url !== undefined)) return config;
  const found = await detectOllama(OLLAMA_URL, OLLAMA_TIMEOUT_MS);
  const model = found?.models[0];
  return model === undefined ? config : withUpstream(config, `${OLLAMA_URL}/v1`, model);
}

/** Made once: challenges stay valid over a restart. */
function localSecret(dataDir: string): string {
  const path = join(dataDir, "memo-secret");
  if (existsSync(path)) return readFileSync(path, "utf8").trim();
  mkdirSync(dataDir, { recursive: true });
  const secret = randomBytes(32).toString("hex");
  writeFileSync(path, `${secret}\n`, { mode: 0o600 });
  return secret;
}

function bannerFor(config: Config): string {
  const model = config.models.find((entry) => entry.name === config.defaultModel);
  return [
    "",
    "  Farebox, local mode. NO REAL MONEY MOVES: the chain, its USDC and the faucet live in this process.",
    "",
    `  gateway      ${config.publicUrl}`,
    `  facilitator  ${config.facilitator}   (faucet: POST /faucet)`,
    `  Solana RPC   ${config.rpcUrl}`,
    `  merchant     ${config.payTo}`,
    `  model        ${model?.model ?? config.defaultModel}`,
    "",
    "  Pay for a call from another terminal:",
    `    npm run --silent pay -- ${config.publicUrl}/agent -d '{"prompt":"Hello"}'`,
    "",
  ].join("\n");
}
