import { Cluster, type ClusterNode, Redis, type RedisOptions } from "ioredis";
import { z } from "zod";
import { LedgerFault } from "./ledger.ts";
import type { Script } from "./redis-scripts.ts";
import { markKey, shardKey } from "./redis-shards.ts";

/** Redis away, or slower than this, is an outcome nobody knows: the call fails within a second, ms. */
const COMMAND_TIMEOUT_MS = 900;
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection that was given up need not end in good order, ms. */
const DISCONNECT_TIMEOUT_MS = 100;
/** A cluster's connection on which nothing comes back for so long is given up for a new one, ms. */
const SILENCE_MS = 2_000;
const RECONNECT_MAX_MS = 500;

/**
 * A command that may have run is never sent again by the driver: what is not known to have failed is a fault, and the ledger's
 * own idempotency tokens (ids, fences, references) make its caller's next attempt harmless.
 */
const OPTIONS: RedisOptions = {
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: CONNECT_TIMEOUT_MS,
  disconnectTimeout: DISCONNECT_TIMEOUT_MS,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: (times) => Math.min(times * 50, RECONNECT_MAX_MS),
  lazyConnect: true,
};

/**
 * `redis://` or `rediss://` one server, `redis-cluster://a:6379,b:6379` a cluster. `pipelines`: commands of one tick are sent to
 * one server in one write.
 */
export function connect(url: string, options: { readonly pipelines: boolean }): Client {
  const { pipelines } = options;
  return url.startsWith("redis-cluster://")
    ? connectCluster(url)
    : new Redis(url, { ...OPTIONS, enableAutoPipelining: pipelines });
}

/**
 * Redirections are followed (what is redirected has not run); a lost connection is never tried again. Commands go one by one: of a
 * pipeline the driver follows no redirection, so a master that came back or moved would not be found again.
 */
function connectCluster(url: string): Cluster {
  const { nodes, username, password } = clusterNodes(url);
  return new Cluster([...nodes], {
    redisOptions: {
      ...OPTIONS,
      socketTimeout: SILENCE_MS,
      ...(username && { username }),
      ...(password && { password }),
    },
    enableOfflineQueue: false,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    clusterRetryStrategy: (times) => Math.min(times * 50, RECONNECT_MAX_MS),
    lazyConnect: true,
  });
}

interface ClusterUrl {
  readonly nodes: readonly ClusterNode[];
  readonly username: string;
  readonly password: string;
}

function clusterNodes(url: string): ClusterUrl {
  const [authority = "", ...more] = url.slice("redis-cluster://".length).replace(/\/$/, "").split(",");
  const first = new URL(`redis://${authority}`);
  const rest = more.map((host) => new URL(`redis://${host}`));
  const nodes = [first, ...rest].map(({ hostname, port }) => ({
    host: hostname,
    port: Number(port || "6379"),
  }));
  return {
    nodes,
    username: decodeURIComponent(first.username),
    password: decodeURIComponent(first.password),
  };
}

/** What the driver says of a command that was not answered in time. */
const TIMED_OUT = "Command timed out";

/** How many keys a script names. */
const KEYS = 2;

const time = z.tuple([z.coerce.number(), z.coerce.number()]);

export type Client = Redis | Cluster;
type Word = string | number;

/** What the parts of the ledger ask of Redis: one script on one shard, one round trip. */
export class RedisLink {
  /** For calls: what is asked first is done first, for each shard. */
  readonly #client: Client;
  /** For whoever asks all shards: a connection of its own, so that no call waits behind it, which sends what it has in one write. */
  readonly #sweeper: Client;
  readonly #clock: (() => number) | undefined;
  readonly #scripts: ReadonlyMap<string, Script>;
  /** Which ledger was opened (redis-start.ts). */
  readonly #ledger: string;
  readonly #givenUp = new Set<Client>();
  /** When something last came back, ms: a server that is only slow is not given up. */
  readonly #heard = new Map<Client, number>();
  #closed = false;

  constructor(
    client: Client,
    sweeper: Client,
    scripts: ReadonlyMap<string, Script>,
    ledger: string,
    clock: (() => number) | undefined,
  ) {
    this.#scripts = scripts;
    this.#ledger = ledger;
    this.#client = client;
    this.#sweeper = sweeper;
    this.#clock = clock;
  }

  /** Runs a script for a call. Rejects with {@link LedgerFault}: it may have run or not. */
  run(name: string, shard: number, ...args: readonly Word[]): Promise<unknown> {
    return this.#run(this.#client, name, shard, args);
  }

  /** As {@link run}, for one of many shards. */
  sweep(name: string, shard: number, ...args: readonly Word[]): Promise<unknown> {
    return this.#run(this.#sweeper, name, shard, args);
  }

  #run(client: Client, name: string, shard: number, args: readonly Word[]): Promise<unknown> {
    const script = this.#scripts.get(name);
    if (script === undefined) throw new Error(`There is no script ${name}.`);
    const now = this.#clock === undefined ? "" : String(this.#clock());
    const words = [...this.#keysOf(shard), now, ...args];
    return this.#attempt(client, async () => {
      try {
        return await client.evalsha(script.sha, KEYS, ...words);
      } catch (error) {
        // It has not run: this server has not seen it yet.
        if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
        return client.eval(script.source, KEYS, ...words);
      }
    });
  }

  /**
   * Its shard, which is never a key itself, and the shard's mark (scripts/mark.lua). That there are two, one of them missing, closes a slot
   * that moves from one master to another: what is in it lies here and there, and a script that ran on either would take what it does not see
   * for never written. Redis answers TRYAGAIN then; a script that names one missing key it would send to the new master.
   */
  #keysOf(shard: number): readonly [string, string] {
    return [shardKey(shard), markKey(shard, this.#ledger)];
  }

  /** What the store's clock says, ms since 1970. */
  async now(): Promise<number> {
    if (this.#clock !== undefined) return this.#clock();
    const [seconds, micros] = time.parse(await this.askEach((client) => client.time()));
    return seconds * 1_000 + Math.floor(micros / 1_000);
  }

  /** A plain command for a call. Rejects with {@link LedgerFault}. */
  ask(command: (client: Client) => Promise<unknown>): Promise<unknown> {
    return this.#attempt(this.#client, () => command(this.#client));
  }

  /** A plain command for one of many shards. Rejects with {@link LedgerFault}. */
  askEach(command: (client: Client) => Promise<unknown>): Promise<unknown> {
    return this.#attempt(this.#sweeper, () => command(this.#sweeper));
  }

  async #attempt(client: Client, ask: () => Promise<unknown>): Promise<unknown> {
    if (this.#closed) throw new LedgerFault("The ledger is closed.");
    try {
      const reply = await ask();
      this.#heard.set(client, performance.now());
      return reply;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const isSilent =
        why === TIMED_OUT && performance.now() - (this.#heard.get(client) ?? 0) >= COMMAND_TIMEOUT_MS;
      // A master that became a replica never writes again: its name may be another server's by now.
      if (isSilent || why.startsWith("READONLY")) this.#giveUp(client);
      throw new LedgerFault(`Redis did not answer as asked: ${why}`, { cause });
    }
  }

  /**
   * Connects anew, once for each connection; nothing is sent again. A server that vanished without a word would otherwise be waited
   * for until TCP gives up, a quarter of an hour. A cluster's connections see to themselves (`socketTimeout`).
   */
  #giveUp(client: Client): void {
    if (!(client instanceof Redis) || client.status !== "ready" || this.#givenUp.has(client)) return;
    this.#givenUp.add(client);
    client.once("close", () => this.#givenUp.delete(client));
    client.disconnect(true);
  }

  /** Lets what is under way finish. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(
      [this.#client, this.#sweeper].map((client) => client.quit().catch(() => client.disconnect())),
    );
  }
}
