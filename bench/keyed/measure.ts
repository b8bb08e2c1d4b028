import { join } from "node:path";
import { startChild } from "../child.ts";
import { keepChallenge } from "../ground.ts";
import { pathOf } from "../lane.ts";
import type { Load } from "../load.ts";
import { type LoopDelay, readDelay } from "../loop-delay.ts";
import { badKey, CALL_PRICE, farebox, fareboxUnguarded } from "./farebox.ts";
import { type KeyedGround, prepareKeyedGround } from "./ground.ts";
import { CALL_PATH, expressProxy, type KeyedLane, type KeyedServer, nodeProxy, portkey } from "./lane.ts";
import { CALL_BODY, loadCalls, loadRefused } from "./load.ts";
import { measureStreamStart, measureStreamsGrowth, type StreamStart } from "./streams.ts";

/** Everything measured with keys, by the lane's name. */
export interface KeyedResults {
  /** Calls answered with a small JSON body. */
  readonly calls: Readonly<Record<string, Load>>;
  readonly streamStart: Readonly<Record<string, StreamStart>>;
  /** MiB, for 1,000 streams at once. */
  readonly streamsGrowth: Readonly<Record<string, number>>;
  /** Calls with a bad key. */
  readonly flood: Readonly<Record<string, Load>>;
  /** Under the load of `calls`. */
  readonly loopDelay: Readonly<Record<string, LoopDelay>>;
}

export interface KeyedAmounts {
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** In the order of the tables. */
export const KEYED_LANES = [nodeProxy, expressProxy, portkey, farebox];

/** Flood: a bare server that sends the gateway's 401. */
export const BARE_REFUSAL = "node-401";
/** The same, as fast as we can make it: answers of one turn of the event loop leave together. */
export const BARE_TOGETHER = "node-401-together";

/** All of it, one lane after the other. */
export async function measureKeyed(amounts: KeyedAmounts): Promise<KeyedResults> {
  const ground = await prepareKeyedGround();
  try {
    return {
      calls: await measureCalls(ground, amounts),
      streamStart: await ofEach(ground, amounts, "stream start", measureStreamStart),
      streamsGrowth: await ofEach(ground, amounts, "1,000 streams", measureStreamsGrowth, {
        slowStream: true,
      }),
      flood: await measureFlood(ground, amounts),
      loopDelay: await measureLoopDelays(ground, amounts),
    };
  } finally {
    await ground.close();
  }
}

/** Each lane twice, the second time in reverse order so that a drift of the machine averages out. */
async function measureCalls(ground: KeyedGround, amounts: KeyedAmounts): Promise<Record<string, Load>> {
  const first = new Map<string, Load>();
  const means: Record<string, Load> = {};
  for (const lane of [...KEYED_LANES, ...KEYED_LANES.toReversed()]) {
    const load = await ground.run(lane, async (server) => {
      await warmUp(ground, server, amounts);
      const seen = await loadCalls({ ...server, directory: ground.directory, seconds: amounts.seconds });
      if (lane === farebox) await checkCharged(server, seen.total);
      return seen;
    });
    tell(lane.label, `${Math.round(load.perSecond)}/s`);
    const earlier = first.get(lane.name);
    if (earlier === undefined) first.set(lane.name, load);
    else {
      means[lane.name] = {
        perSecond: (earlier.perSecond + load.perSecond) / 2,
        p99Ms: (earlier.p99Ms + load.p99Ms) / 2,
      };
    }
  }
  return means;
}

/** What was answered was charged: a gateway that forgets to is no faster for it. */
async function checkCharged({ url, headers }: KeyedServer, calls: number): Promise<void> {
  const response = await fetch(`${url}/v1/key`, { headers });
  const text = await response.text();
  const usage = /"usage_micro_usd":"(\d+)"/.exec(text)?.[1] ?? "0";
  if (BigInt(usage) < BigInt(calls) * CALL_PRICE) throw new Error(`${calls} calls were charged ${usage}`);
}

/** Lanes that stream. */
async function ofEach<T>(
  ground: KeyedGround,
  amounts: KeyedAmounts,
  what: string,
  measure: (server: KeyedServer) => Promise<T>,
  options: { readonly slowStream?: boolean } = {},
): Promise<Record<string, T>> {
  const measured: Record<string, T> = {};
  for (const lane of KEYED_LANES.filter(({ streams }) => streams)) {
    const value = await ground.run(
      lane,
      async (server) => {
        await warmUp(ground, server, amounts);
        return measure(server);
      },
      options,
    );
    tell(`${lane.label}, ${what}`, JSON.stringify(value));
    measured[lane.name] = value;
  }
  return measured;
}

/**
 * Keys of the right form with a wrong checksum, each refused as a bad key: the guard is at its widest, since as it comes it holds
 * an address back after `badCredentialsPerMinute` of them, on purpose.
 */
async function measureFlood(ground: KeyedGround, amounts: KeyedAmounts): Promise<Record<string, Load>> {
  const headers = { authorization: `Bearer ${badKey()}` };
  const flood = async ({ url }: { readonly url: string }) => {
    const calls = { url, headers, directory: ground.directory };
    await loadRefused({ ...calls, seconds: amounts.warmUpSeconds });
    return loadRefused({ ...calls, seconds: amounts.seconds });
  };
  const file = join(ground.directory, "refusal.json");
  const call = { method: "POST", body: CALL_BODY, headers };
  const unguarded = await ground.run(fareboxUnguarded, async (server) => {
    await keepChallenge(server.url + CALL_PATH, file, call);
    return flood(server);
  });
  const bare = async (name: string, env: Record<string, string>) => {
    const args = [pathOf("servers/node-http.mjs")];
    const command = { name, directory: ground.directory, args, env: { ...env, CHALLENGE_FILE: file } };
    const server = await startChild(command, { path: CALL_PATH, status: 401 });
    try {
      return await flood(server);
    } finally {
      await server.stop();
    }
  };
  const loads = {
    [BARE_REFUSAL]: await bare(BARE_REFUSAL, {}),
    [BARE_TOGETHER]: await bare(BARE_TOGETHER, { TOGETHER: "1" }),
    [fareboxUnguarded.name]: unguarded,
  };
  for (const [name, { perSecond }] of Object.entries(loads)) {
    tell(`${name}, flood`, `${Math.round(perSecond)}/s`);
  }
  return loads;
}

async function measureLoopDelays(
  ground: KeyedGround,
  amounts: KeyedAmounts,
): Promise<Record<string, LoopDelay>> {
  const delays: Record<string, LoopDelay> = {};
  for (const lane of [nodeProxy, farebox]) delays[lane.name] = await measureLoopDelay(ground, lane, amounts);
  return delays;
}

function measureLoopDelay(ground: KeyedGround, lane: KeyedLane, amounts: KeyedAmounts): Promise<LoopDelay> {
  const file = join(ground.directory, `loop-delay-${lane.name}.json`);
  const options = { preload: pathOf("loop-delay.mjs"), env: { LOOP_DELAY_FILE: file } };
  const measure = async (server: KeyedServer) => {
    await warmUp(ground, server, amounts);
    await readDelay(server, file, 1);
    await loadCalls({ ...server, directory: ground.directory, seconds: amounts.seconds });
    const delay = await readDelay(server, file, 2);
    tell(`${lane.label}, loop delay`, JSON.stringify(delay));
    return delay;
  };
  return ground.run(lane, measure, options);
}

async function warmUp(ground: KeyedGround, server: KeyedServer, amounts: KeyedAmounts): Promise<void> {
  await loadCalls({ ...server, directory: ground.directory, seconds: amounts.warmUpSeconds });
}

function tell(what: string, value: string): void {
  process.stderr.write(`  ${what}: ${value}\n`);
}
