import { openRedisLedger } from "../../server/ledger/redis.ts";
import { type Ground, PRICED_PATH, prepareGround } from "../ground.ts";
import { farebox, openAccount, readyGateway } from "../keyed/farebox.ts";
import { type KeyedGround, prepareKeyedGround } from "../keyed/ground.ts";
import type { KeyedLane, KeyedServer } from "../keyed/lane.ts";
import { loadCalls } from "../keyed/load.ts";
import { NETWORK_ID } from "../lane.ts";
import { fareboxGateway } from "../lanes/farebox-gateway.ts";
import { CONNECTIONS, loadPaid } from "../load.ts";
import type { Amounts } from "../throughput.ts";
import { type BenchRedis, startBenchRedis } from "./server.ts";

/** Calls of a key, and what a call costs in CPU, µs. */
export interface LedgerLoad {
  readonly perSecond: number;
  /** All threads of all gateways. */
  readonly gatewayMicros: number;
  /** 0 with SQLite. */
  readonly redisMicros: number;
}

export interface RedisResults {
  readonly sqlite: LedgerLoad;
  readonly oneGateway: LedgerLoad;
  /** Each with as many connections as the one has. */
  readonly twoGateways: LedgerLoad;
  /** Sharing the connections that the one has. */
  readonly twoSharing: LedgerLoad;
  /** CPU of Redis for a keyless call, µs. */
  readonly keylessRedisMicros: number;
}

/** Keyed calls on SQLite and on Redis with one gateway and with two; keyless calls on Redis. Needs redis-server and wrk. */
export async function measureRedis(amounts: Amounts): Promise<RedisResults> {
  const ground = await prepareKeyedGround();
  try {
    const seen: Record<Form, LedgerLoad[]> = { sqlite: [], oneGateway: [], twoGateways: [], twoSharing: [] };
    for (const name of [...FORMS, ...FORMS.toReversed()]) {
      const load = await measureOne(ground, name, amounts);
      process.stderr.write(`  ${name}: ${describeLoad(load)}\n`);
      seen[name].push(load);
    }
    return {
      sqlite: meanOf(seen.sqlite),
      oneGateway: meanOf(seen.oneGateway),
      twoGateways: meanOf(seen.twoGateways),
      twoSharing: meanOf(seen.twoSharing),
      keylessRedisMicros: await measureKeyless(amounts),
    };
  } finally {
    await ground.close();
  }
}

const FORMS = ["sqlite", "oneGateway", "twoGateways", "twoSharing"] as const;
type Form = (typeof FORMS)[number];

function measureOne(ground: KeyedGround, name: Form, amounts: Amounts): Promise<LedgerLoad> {
  if (name === "sqlite") {
    return ground.run(farebox, (server) => loadGateways(ground, [server], CONNECTIONS, undefined, amounts));
  }
  const connections = name === "twoSharing" ? CONNECTIONS / 2 : CONNECTIONS;
  return withRedis(ground.directory, async (redis) => {
    const lane = await redisLane(redis);
    return ground.run(
      lane,
      (first) => {
        if (name === "oneGateway") return loadGateways(ground, [first], connections, redis, amounts);
        const both = (second: KeyedServer) =>
          loadGateways(ground, [first, second], connections, redis, amounts);
        return ground.run(lane, both, { env: { LEDGER_URL: redis.url } });
      },
      { env: { LEDGER_URL: redis.url } },
    );
  });
}

async function withRedis<T>(directory: string, use: (redis: BenchRedis) => Promise<T>): Promise<T> {
  const redis = await startBenchRedis(directory);
  try {
    return await use(redis);
  } finally {
    await redis.stop();
  }
}

/** Gateways on one Redis, with one key for all. */
async function redisLane(redis: BenchRedis): Promise<KeyedLane> {
  const ledger = await openRedisLedger({
    url: redis.url,
    network: NETWORK_ID,
    acceptDataLoss: false,
    responseBytes: 256 * 1024 * 1024,
    onConnectionError: (error) => {
      throw error;
    },
  });
  const secret = await openAccount(ledger);
  return {
    name: "farebox-redis",
    label: "Farebox, keyed, on Redis",
    streams: true,
    probePath: "/healthz",
    prepare: async (directory, around) => readyGateway("farebox-redis", directory, around, secret),
  };
}

/** So many connections for each gateway. */
async function loadGateways(
  ground: KeyedGround,
  gateways: readonly KeyedServer[],
  connections: number,
  redis: BenchRedis | undefined,
  { seconds, warmUpSeconds }: Amounts,
): Promise<LedgerLoad> {
  const load = (duration: number) =>
    Promise.all(
      gateways.map(({ url, headers }, index) =>
        loadCalls({
          url,
          headers,
          seconds: duration,
          connections,
          directory: ground.directory,
          name: `${index}`,
        }),
      ),
    );
  // A gateway is compiled after some thousand calls, and two of them share what one gets.
  await load(2 * warmUpSeconds * gateways.length);
  const cpu = () => gateways.reduce((total, gateway) => total + gateway.cpuMs(), 0);
  const before = { gateways: cpu(), redis: redis?.cpuMs() ?? 0 };
  const seen = await load(seconds);
  const calls = seen.reduce((total, each) => total + each.total, 0);
  return {
    perSecond: seen.reduce((total, each) => total + each.perSecond, 0),
    gatewayMicros: ((cpu() - before.gateways) * 1_000) / calls,
    redisMicros: (((redis?.cpuMs() ?? 0) - before.redis) * 1_000) / calls,
  };
}

async function measureKeyless(amounts: Amounts): Promise<number> {
  const ground = await prepareGround(fareboxGateway);
  try {
    return await withRedis(ground.directory, (redis) => loadKeyless(ground, redis, amounts));
  } finally {
    await ground.close();
  }
}

function loadKeyless(ground: Ground, redis: BenchRedis, { payments }: Amounts): Promise<number> {
  return ground.run(
    fareboxGateway,
    async ({ url }) => {
      const signed = await ground.sign(url + PRICED_PATH, payments);
      const before = redis.cpuMs();
      await loadPaid(url + PRICED_PATH, signed);
      return ((redis.cpuMs() - before) * 1_000) / signed.length;
    },
    { env: { LEDGER_URL: redis.url } },
  );
}

function meanOf(loads: readonly LedgerLoad[]): LedgerLoad {
  const mean = (value: (load: LedgerLoad) => number) =>
    loads.reduce((sum, load) => sum + value(load), 0) / loads.length;
  return {
    perSecond: mean((load) => load.perSecond),
    gatewayMicros: mean((load) => load.gatewayMicros),
    redisMicros: mean((load) => load.redisMicros),
  };
}

function describeLoad({ perSecond, gatewayMicros, redisMicros }: LedgerLoad): string {
  return `${Math.round(perSecond)}/s, ${Math.round(gatewayMicros)} µs gateway, ${Math.round(redisMicros)} µs Redis`;
}
