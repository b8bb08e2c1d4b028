import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../facilitator-client/clock.ts";
import { type Localnet, startLocalnet } from "../../localnet/index.ts";
import type { Config } from "../../server/config.ts";
import { loadConfig } from "../../server/load-config.ts";
import { createLogger } from "../../server/log.ts";
import { type RunningGateway, startGateway } from "../../server/start.ts";
import { type FaultyFacilitator, startFaultyFacilitator } from "./faulty-facilitator.ts";
import { lastingPort } from "./lasting-port.ts";
import { keepLines, type LogLines } from "./log-lines.ts";
import { type ModelUpstream, startModelUpstream } from "./model-upstream.ts";

/** A whole shop on loopback: chain, official facilitator with faults in front, model, gateway. */
export interface Shop {
  readonly url: string;
  readonly dataDir: string;
  readonly localnet: Localnet;
  readonly facilitator: FaultyFacilitator;
  readonly upstream: ModelUpstream;
  config: Config;
  readonly env: Readonly<Record<string, string>>;
  readonly configText: string;
  gateway: RunningGateway;
  /** Lines of the log, request lines among them. */
  readonly lines: Record<string, unknown>[];
  /** The first log line, past or to come, that has these fields. */
  line: LogLines["line"];
  /** Closes the gateway, if one runs, and opens it again on the same data and port; with another file if one is given. */
  restart(yaml?: string): Promise<void>;
  close(): Promise<void>;
}

export interface ShopOptions {
  /** YAML beside the upstream, network and prices. */
  readonly yaml?: string;
  /** YAML of the models, in the place of the one flat-priced `gpt-test`. */
  readonly models?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Do not start a gateway in this process (the test runs one as a child, or calls `restart`). */
  readonly noGateway?: boolean;
  /** The facilitator refuses connections when the gateway starts. */
  readonly facilitatorDown?: boolean;
  /** Further facilitators on the shop's chain; the shop's own is the first of the list. */
  readonly rivals?: (localnet: Localnet) => Promise<readonly { readonly url: string }[]>;
  /** When facilitators are asked what they support. */
  readonly clock?: Clock;
  /** Where the built console is. */
  readonly consoleDirectory?: string;
}

export async function openShop(options: ShopOptions = {}): Promise<Shop> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-"));
  const localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 });
  const facilitator = await startFaultyFacilitator(localnet.facilitatorUrl);
  if (options.facilitatorDown === true) await facilitator.down();
  const upstream = await startModelUpstream();
  const rivals = await options.rivals?.(localnet);
  const port = await lastingPort();
  const env = {
    NETWORK: "solana",
    PORT: String(port),
    HOST: "127.0.0.1",
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    PAY_TO: localnet.merchant,
    RPC_URL: localnet.rpcUrl,
    ...(rivals === undefined ? { FACILITATOR_URL: facilitator.url } : {}),
    UPSTREAM_URL: `${upstream.url}/v1`,
    FAREBOX_DATA_DIR: dataDir,
    FAREBOX_MEMO_SECRET: "test-secret-test-secret-test-secret-1",
    LOG_LEVEL: "info",
    ...options.env,
  };
  const list = rivals && `facilitators: ${JSON.stringify([facilitator, ...rivals].map(({ url }) => url))}\n`;
  const base = `${BASE_YAML}${list ?? ""}${options.models ?? MODELS_YAML}`;
  const configText = `${base}${options.yaml ?? ""}`;
  const { lines, line, destination } = keepLines();
  async function start(config: Config): Promise<RunningGateway> {
    const gateway = await startGateway({
      config,
      log: createLogger({ level: config.logLevel, destination }),
      ...(options.clock === undefined ? {} : { clock: options.clock }),
      ...(options.consoleDirectory === undefined ? {} : { consoleDirectory: options.consoleDirectory }),
      onFatal: (error) => {
        throw error;
      },
    });
    if (options.facilitatorDown !== true) await untilReady(gateway);
    return gateway;
  }
  const config = load(env, dataDir, configText);
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
    line,
    gateway: options.noGateway === true ? (undefined as unknown as RunningGateway) : await start(config),
    async restart(yaml) {
      await shop.gateway?.close();
      if (yaml !== undefined) shop.config = load(env, dataDir, `${base}${yaml}`);
      shop.gateway = await start(shop.config);
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

function load(env: Readonly<Record<string, string>>, cwd: string, text: string): Config {
  const loaded = loadConfig({ env, cwd, readFile: () => text });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

/** Listening and ready to sell are two moments: the facilitator's first answer comes after the first. */
async function untilReady({ payments }: RunningGateway): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (payments.terms.current() === undefined) {
    if (performance.now() > deadline) throw new Error("the facilitator named no terms within 10 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const BASE_YAML = `
service: { name: Test shop, description: A shop for tests, contactEmail: shop@example.com }
drain: 1s
timeouts: { verify: 2s, settle: 2s }
`;

const MODELS_YAML = `
models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }
defaultModel: gpt-test
`;
