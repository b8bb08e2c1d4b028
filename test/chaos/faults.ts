import { setTimeout as wait } from "node:timers/promises";
import { paymentId } from "../support/buyer.ts";
import { type Fault, faults, type LoggedCall } from "../support/faulty-facilitator.ts";
import type { RedisServer } from "../support/redis-server.ts";
import type { Gateway } from "./gateways.ts";
import type { Random } from "./random.ts";
import { UPSTREAM_FAULTS, type UpstreamFault } from "./upstream.ts";
import type { World } from "./world.ts";

/** Something that was broken on purpose. */
export interface InjectedFault {
  /** Milliseconds since the run began. */
  readonly at: number;
  readonly kind: string;
  readonly detail: string;
}

/** Breaks things, one kind for each name. What it began it also ends; `details` says what was chosen. */
type Breaker = (world: World, random: Random, gateways: readonly Revival[]) => Promise<string> | string;

/** A gateway that is killed and comes back. */
interface Revival {
  readonly index: number;
  readonly gateway: Gateway;
  busy: boolean;
}

/** How often the last one that serves is killed too. */
const BOTH_DOWN = 0.2;
const SKEW_MS = 30_000;
const PATIENCE_MS = 4_000;
const SLOT_ORIGIN = 447_552_000n;
/** Within what our own bound of the height allows a node (docs/architecture.md). */
const LAG_BLOCKS = 20;
const REFUSAL = "invalid_exact_svm_transaction_simulation_failed";

const KINDS: Readonly<Record<string, Breaker>> = {
  gateway_killed: (world, random, gateways) => revive(world, random, gateways, 0),
  clock_skewed: (world, random, gateways) =>
    revive(world, random, gateways, random.chance(0.5) ? SKEW_MS : -SKEW_MS),
  settle_timed_out: (world) => settle(world, faults.hang, 1),
  settle_5xx: (world, random) =>
    settle(world, faults.status(random.pick([500, 502, 503])), random.between(1, 3)),
  settle_garbled: (world, random) =>
    settle(world, random.pick([faults.html, faults.garbage200, faults.wrongShape, faults.truncated]), 1),
  settle_reset: (world, random) => settle(world, faults.reset, random.between(1, 2)),
  settle_dropped_after_landing: (world, random) => settle(world, faults.dropAfter, random.between(1, 3)),
  settle_twice: (world, random) => settle(world, faults.twice, random.between(1, 2)),
  settle_answered_late: (world, random) => settle(world, faults.slowAnswer(random.between(1_000, 8_000)), 1),
  settle_slow: (world, random) =>
    settle(world, faults.slow(random.between(500, 8_000)), random.between(1, 3)),
  refused_then_landed: (world, random) => landLater(world, random, faults.reason(REFUSAL)),
  reset_then_landed: (world, random) => landLater(world, random, faults.reset),
  verify_failed: (world, random) => {
    const fault = random.pick([faults.hang, faults.status(500), faults.reset, faults.html]);
    world.facilitator.fail("verify", fault, random.between(1, 3));
    return fault.kind;
  },
  facilitator_down: async (world, random) => {
    await world.facilitator.down();
    const ms = random.between(100, 1_500);
    await wait(ms);
    await world.facilitator.up();
    return `${ms} ms`;
  },
  node_lags: lag,
  node_down: async (world, random) => {
    const ms = random.between(500, 4_000);
    world.rpc.failAll({ status: 503, body: "busy" });
    await wait(ms);
    world.rpc.repair();
    return `${ms} ms`;
  },
  upstream_dies_before: (world, random) => upstream(world, random, ["reset", "status_500", "hang"]),
  upstream_dies_during: (world, random) =>
    upstream(world, random, ["half_answer", "stalled_stream", "error_in_200"]),
  redis_restarted: restartRedis,
};

/** Without Redis all gateways are on one machine, and so have one clock. */
const ONLY_WITH_REDIS: readonly string[] = ["redis_restarted", "clock_skewed"];
/** Kills weigh more: they are what the ledger is for. */
const WEIGHTS: Readonly<Record<string, number>> = {
  gateway_killed: 5,
  clock_skewed: 2,
  redis_restarted: 3,
};

/** What a run is under. */
export interface Trouble {
  readonly log: readonly InjectedFault[];
  /** Injects faults until `most` are there or it is told to stop. */
  run(most: number, gapMs: number): Promise<void>;
  /** No more faults; resolves when everything works again. */
  end(): Promise<void>;
}

export function createTrouble(world: World, random: Random): Trouble {
  const log: InjectedFault[] = [];
  const running = new Set<Promise<void>>();
  const gateways = world.gateways.map((gateway, index) => ({ index, gateway, busy: false }));
  const kinds = Object.keys(KINDS)
    .filter((kind) => world.redis !== undefined || !ONLY_WITH_REDIS.includes(kind))
    .flatMap((kind) => Array<string>(WEIGHTS[kind] ?? 1).fill(kind));
  let deck: string[] = [];
  let ended = false;
  let failure: unknown;

  function inject(): void {
    // Drawn without putting back, so that a short run meets most of them.
    if (deck.length === 0) deck = [...kinds];
    const kind = random.pick(deck);
    deck.splice(deck.indexOf(kind), 1);
    const at = world.now();
    const task = (async () => {
      const detail = await KINDS[kind]?.(world, random, gateways);
      if (detail !== undefined && detail !== "") log.push({ at, kind, detail });
    })()
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => running.delete(task));
    running.add(task);
  }

  return {
    log,
    run: async (most, gapMs) => {
      while (!ended && log.length + running.size < most) {
        await wait(random.between(50, gapMs));
        if (failure !== undefined) throw failure;
        if (!ended) inject();
        // One that found nothing to break is not counted.
        if (log.length + running.size >= most) await Promise.all(running);
      }
    },
    end: async () => {
      ended = true;
      await Promise.all(running);
      world.facilitator.clear();
      world.upstream.clear();
      world.rpc.repair();
      if (failure !== undefined) throw failure;
    },
  };
}

/** Kills one and starts it again on the same port; "" if none is to be killed now. */
async function revive(
  world: World,
  random: Random,
  gateways: readonly Revival[],
  skewMs: number,
): Promise<string> {
  const free = gateways.filter(({ busy }) => !busy);
  if (free.length === 0) return "";
  // Where nobody serves, nothing else can go wrong.
  if (free.length === 1 && !random.chance(BOTH_DOWN)) return "";
  const chosen = random.pick(free);
  chosen.busy = true;
  try {
    const restMs = random.between(0, 1_500);
    world.deaths.push({ gateway: chosen.index, at: world.now() });
    await chosen.gateway.kill();
    await wait(restMs);
    await chosen.gateway.start(skewMs);
    return `gateway ${chosen.index}${skewMs === 0 ? "" : `, ${skewMs / 1_000} s`}`;
  } finally {
    chosen.busy = false;
  }
}

/** One restart at a time. */
const restarting = new WeakSet<RedisServer>();

async function restartRedis({ redis, gateways, deaths, now }: World, random: Random): Promise<string> {
  if (redis === undefined || restarting.has(redis)) return "";
  restarting.add(redis);
  const from = now();
  await redis.kill();
  await wait(random.between(50, 1_000));
  await redis.start();
  restarting.delete(redis);
  const ms = now() - from;
  // Longer than a last step is tried: what it would have written is lost as if the gateways had died.
  if (ms > PATIENCE_MS) deaths.push(...gateways.map((_, gateway) => ({ gateway, at: from })));
  return `${ms} ms`;
}

function settle(world: World, fault: Fault, times: number): string {
  world.facilitator.fail("settle", fault, times);
  return `${fault.kind} ${times}×`;
}

async function landLater(world: World, random: Random, answer: Fault): Promise<string> {
  const late = world.facilitator.lateLanding("settle", answer);
  const ms = random.between(200, 6_000);
  const arrived = await Promise.race([late.arrived, wait(10_000, undefined)]);
  if (arrived === undefined) return "";
  if (answer.kind === "reason") world.misled.push(paymentOf(arrived));
  await wait(ms);
  await late.release();
  return `after ${ms} ms`;
}

function paymentOf({ body }: LoggedCall): string {
  const { paymentPayload } = body as { paymentPayload: unknown };
  return paymentId({ header: Buffer.from(JSON.stringify(paymentPayload)).toString("base64") });
}

/** A node that is some seconds behind: heights, history and transactions alike. */
async function lag({ rpc, localnet }: World, random: Random): Promise<string> {
  const ms = random.between(1_000, 5_000);
  const slot = () => Number(localnet.height() + SLOT_ORIGIN) - LAG_BLOCKS;
  const back = (height: unknown): unknown => (typeof height === "number" ? height - LAG_BLOCKS : height);
  rpc.fail("getBlockHeight", { change: back });
  rpc.fail("getEpochInfo", {
    change: (result) => {
      const info = result as { absoluteSlot: number; blockHeight: number };
      return { ...info, absoluteSlot: back(info.absoluteSlot), blockHeight: back(info.blockHeight) };
    },
  });
  rpc.fail("getSignaturesForAddress", {
    change: (result) =>
      Array.isArray(result) ? result.filter((entry: { slot: number }) => entry.slot <= slot()) : result,
  });
  rpc.fail("getTransaction", {
    change: (result) => (((result as { slot: number } | null)?.slot ?? 0) > slot() ? null : result),
  });
  await wait(ms);
  rpc.repair();
  return `${LAG_BLOCKS} blocks for ${ms} ms`;
}

function upstream(world: World, random: Random, kinds: readonly UpstreamFault[]): string {
  const fault = random.pick(kinds.filter((kind) => kind in UPSTREAM_FAULTS));
  const times = random.between(1, 4);
  world.upstream.fail(fault, times);
  return `${fault} ${times}×`;
}
