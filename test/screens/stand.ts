import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../server/load-config.ts";
import { startLocalMode } from "../../server/local-mode.ts";
import { createLogger } from "../../server/log.ts";
import { startGateway } from "../../server/start.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { writeHistory } from "./history.ts";

export interface Stand {
  readonly url: string;
  close(): Promise<void>;
}

const CONFIG = `
service: { name: Farebox }
upstreams: { default: {}, openai: { url: "https://api.openai.com/v1" } }
models:
  openai/gpt-4o-mini: { upstream: default, model: farebox/echo, input: "$0.15/1M", output: "$0.60/1M" }
  gpt-oss:20b: { upstream: default, model: farebox/echo, input: "$0.05/1M", output: "$0.20/1M" }
  vllm-primary: { upstream: default, model: farebox/echo, price: "$0.01" }
defaultModel: gpt-oss:20b
`;

/** Local mode as `npm start` gives it, on ports and data of its own, with a month behind it. */
export async function openStand(wallet: string): Promise<Stand> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-screens-"));
  const [port, rpcPort, facilitatorPort] = [await lastingPort(), await lastingPort(), await lastingPort()];
  await writeFile(join(dataDir, "farebox.yaml"), CONFIG);
  const loaded = loadConfig({
    cwd: dataDir,
    env: {
      NETWORK: "local",
      PORT: String(port),
      FAREBOX_DATA_DIR: dataDir,
      LOCALNET_RPC_PORT: String(rpcPort),
      LOCALNET_FACILITATOR_PORT: String(facilitatorPort),
      FAREBOX_MASTER_KEY: Buffer.alloc(32, 1).toString("base64"),
    },
  });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  await writeHistory(dataDir, wallet);
  const local = await startLocalMode(loaded.config);
  const gateway = await startGateway({
    config: local.config,
    log: createLogger({ level: "error" }),
    onFatal: (error) => {
      throw error;
    },
  });
  return {
    url: gateway.url,
    async close() {
      await gateway.close();
      await local.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
