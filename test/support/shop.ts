import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Localnet, startLocalnet } from "../../localnet/index.ts";
import type { Config } from "../../server/config.ts";
import { loadConfig } from "../../server/load-config.ts";
import { createLogger } from "../../server/log.ts";
import { type RunningGateway, startGateway } from "../../server/start.ts";
import { type FaultyFacilitator, startFaultyFacilitator } from "./faulty-facilitator.ts";
import { type ModelUpstream, startModelUpstream } from "./model-upstream.ts";

/** A whole shop on loopback: chain, official facilitator with faults in front, model, gateway. */
export interface Shop {
  readonly url: string;
  readonly dataDir: string;
  readonly localnet: Localnet;
  readonly facilitator: FaultyFacilitator;
  readonly upstream: ModelUpstream;
  readonly config: Config;
  readonly env: Readonly<Record<string, string>>;
  readonly configText: string;
  gateway: RunningGateway;
  /** Lines of the request log. */
  readonly lines: Record<string, unknown>[];
  /** Closes the gateway and opens it again on the same data and port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface ShopOptions {
  /** YAML beside the upstream, network and prices. */
  readonly yaml?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Do not start a gateway in this process (the test runs one as a child). */
  readonly noGateway?: boolean;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function openShop(options: ShopOptions = {}): Promise<Shop> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-"));
  const localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 });
  const facilitator = await startFaultyFacilitator(localnet.facilitatorUrl);
  const upstream = await startModelUpstream();
  const port = await freePort();
  const env = {
    NETWORK: "solana",
    PORT: String(port),
    HOST: "127.0.0.1",
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    PAY_TO: localnet.merchant,
    RPC_URL: localnet.rpcUrl,
    FACILITATOR_URL: facilitator.url,
    UPSTREAM_URL: `${upstream.url}/v1`,
    FAREBOX_DATA_DIR: dataDir,
    FAREBOX_MEMO_SECRET: "test-secret-test-secret-test-secret-1",
    LOG_LEVEL: "info",
    ...options.env,
  };
  const configText = `${BASE_YAML}${options.yaml ?? ""}`;
  const loaded = loadConfig({ env, cwd: dataDir, readFile: () => configText });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({
    level: config.logLevel,
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  });
  const start = (): Promise<RunningGateway> =>
    startGateway({
      config,
      log,
      onFatal: (error) => {
        throw error;
      },
    });
  const shop: Shop = {
    url: `http://127.0.0.1:${port}`,
    dataDir,
    localnet,
    facilitator,
    upstream,
    config,
    env,
    configText,
    lines,
    gateway: options.noGateway === true ? (undefined as unknown as RunningGateway) : await start(),
    async restart() {
      await shop.gateway.close();
      shop.gateway = await start();
    },
    async close() {
      await shop.gateway?.close();
      await upstream.close();
      await facilitator.close();
      await localnet.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  return shop;
}

const BASE_YAML = `
service: { name: Test shop, description: A shop for tests }
models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }
defaultModel: gpt-test
drain: 1s
timeouts: { verify: 2s, settle: 2s }
`;
