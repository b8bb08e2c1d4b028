import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Localnet, startLocalnet } from "../../localnet/index.ts";
import { type RpcProxy, startRpcProxy } from "../faults/rpc-proxy.ts";
import { type Build, buildProgram } from "../support/build-program.ts";
import { type FaultyFacilitator, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import type { Death } from "./evidence.ts";
import { createGateway, type Gateway } from "./gateways.ts";
import type { ChaosOptions } from "./options.ts";
import type { Random } from "./random.ts";
import { type LoggingUpstream, startUpstream } from "./upstream.ts";

/** Chain, facilitator, node, model and gateways of one run. */
export interface World {
  readonly directory: string;
  readonly dataDir: string;
  readonly localnet: Localnet;
  readonly facilitator: FaultyFacilitator;
  readonly rpc: RpcProxy;
  readonly upstream: LoggingUpstream;
  readonly redis: RedisServer | undefined;
  readonly gateways: readonly Gateway[];
  readonly deaths: Death[];
  readonly misled: string[];
  /** Gateways that ended by themselves: their exit codes. */
  readonly ends: number[];
  /** Milliseconds since the run began. */
  now(): number;
  /** Ends every process and server, and removes what they wrote. */
  close(): Promise<void>;
}

export const ADMIN_TOKEN = "chaos-admin-token-chaos-admin-token";
/** A settled payment that nobody comes back for is credited after this, once its lease is over. */
export const STORE_MS = 20_000;
const GATEWAYS = 2;

const SETTINGS = `
service: { name: Chaos, description: A shop under fire, contactEmail: shop@example.com }
timeouts: { verify: 5s, settle: 5s }
upstreams: { default: { headersTimeout: 3s, bodyTimeout: 3s } }
payment: { storeResponseFor: ${STORE_MS}ms, storeResponseMax: 4KiB, gate: 4KiB, strikeFor: 5s }
keys: { holdLease: 40s, callTimeout: 30s }
models:
  flat: { upstream: default, model: flat, maxOutput: 1000, price: "$0.01" }
  metered: { upstream: default, model: metered, maxOutput: 1000000, input: "$1/1M", output: "$2/1M" }
defaultModel: flat
`;

/** Starts it all, or leaves nothing behind. */
export async function openWorld(options: ChaosOptions, random: Random): Promise<World> {
  const began = Date.now();
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), "farebox-chaos-"));
    closers.push(() => rm(directory, { recursive: true, force: true }));
    const localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0 });
    closers.push(localnet.close);
    const facilitator = await startFaultyFacilitator(localnet.facilitatorUrl);
    closers.push(facilitator.close);
    const rpc = await startRpcProxy();
    closers.push(rpc.close);
    rpc.forwardTo(localnet.rpcUrl);
    const upstream = await startUpstream(random.fork());
    closers.push(upstream.close);
    const redis = options.ledger === "redis" ? await startRedis() : undefined;
    if (redis !== undefined) closers.push(redis.stop);
    const build = await buildProgram();
    closers.push(build.remove);
    const parts = { directory, localnet, facilitator, rpc, upstream, redis };
    const gateways = await openGateways(parts, build);
    closers.push(() => Promise.all(gateways.map((gateway) => gateway.kill())));
    await Promise.all(gateways.map((gateway) => gateway.start(0)));
    const dataDir = dataDirOf(directory);
    return {
      ...parts,
      dataDir,
      gateways,
      deaths: [],
      misled: [],
      ends: [],
      now: () => Date.now() - began,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function dataDirOf(directory: string): string {
  return join(directory, "data");
}

async function openGateways(
  parts: Pick<World, "directory" | "localnet" | "facilitator" | "rpc" | "upstream" | "redis">,
  build: Build,
): Promise<readonly Gateway[]> {
  const { directory, localnet, facilitator, rpc, upstream, redis } = parts;
  const config = join(directory, "farebox.yaml");
  await writeFile(config, SETTINGS);
  const ports = await Promise.all(Array.from({ length: GATEWAYS * 2 }, lastingPort));
  const env = {
    NODE_ENV: "production",
    NETWORK: "solana",
    HOST: "127.0.0.1",
    PUBLIC_URL: `http://127.0.0.1:${ports[0]}`,
    PAY_TO: localnet.merchant,
    RPC_URL: rpc.url,
    FACILITATOR_URL: facilitator.url,
    UPSTREAM_URL: `${upstream.url}/v1`,
    FAREBOX_CONFIG: config,
    FAREBOX_DATA_DIR: dataDirOf(directory),
    FAREBOX_MEMO_SECRET: "chaos-memo-secret-chaos-memo-secret",
    FAREBOX_ADMIN_TOKEN: ADMIN_TOKEN,
    LOG_LEVEL: "error",
    ...(redis === undefined ? {} : { LEDGER_URL: redis.url }),
  };
  return Array.from({ length: GATEWAYS }, (_, index) =>
    createGateway({
      main: build.main,
      cwd: directory,
      port: ports[index] ?? 0,
      adminPort: ports[GATEWAYS + index] ?? 0,
      env,
      logPath: join(directory, `gateway-${index}.log`),
      tries: redis === undefined ? 1 : 20,
    }),
  );
}
