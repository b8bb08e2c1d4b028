import { Cluster } from "ioredis";
import { type Ledger, LedgerFault } from "./ledger.ts";
import { createRedisAccountAlerts } from "./redis-account-alerts.ts";
import { createRedisAccounts } from "./redis-accounts.ts";
import { createRedisAlerts } from "./redis-alerts.ts";
import { createRedisCalls } from "./redis-calls.ts";
import { checkRedisAccounts } from "./redis-check.ts";
import { createRedisCredits } from "./redis-credits.ts";
import { createRedisExport } from "./redis-export.ts";
import { createRedisKeys, KeyHomes } from "./redis-keys.ts";
import { type Client, connect, RedisLink } from "./redis-link.ts";
import { createRedisPayments } from "./redis-payments.ts";
import { createRedisProviderKeys } from "./redis-provider-keys.ts";
import { readScripts } from "./redis-scripts.ts";
import { createRedisSessions } from "./redis-sessions.ts";
import { MAX_SHARDS, Shards } from "./redis-shards.ts";
import { prepareRedis, UnfitRedis } from "./redis-start.ts";
import { createStore } from "./redis-store.ts";
import { createRedisTrim } from "./redis-trim.ts";

export interface RedisLedgerOptions {
  /** `redis://…`, `rediss://…`, or `redis-cluster://a:6379,b:6379`. */
  readonly url: string;
  /** CAIP-2, or `local`. Stamped into an empty Redis; another one must carry the same. */
  readonly network: string;
  /** Start although this Redis may forget money. */
  readonly acceptDataLoss: boolean;
  /** Stored answers of all calls together, bytes. */
  readonly responseBytes: number;
  /** Of a new ledger; an existing one must have as many (default and most: 256). */
  readonly shards?: number | undefined;
  /** Overrides the store's clock (tests only). */
  readonly clock?: (() => number) | undefined;
  /** What the connection says when it breaks and on each vain attempt to mend it. */
  readonly onConnectionError: (error: Error) => void;
}

/**
 * Opens the ledger of many gateways: one truth in Redis, one Lua script for each change.
 *
 * Rejects with Error if Redis cannot be reached, belongs to another network, or may forget what it acknowledged. Later, while Redis is
 * away or refuses to write, every call rejects with `LedgerFault` within a second, and works again by itself.
 */
export async function openRedisLedger(options: RedisLedgerOptions): Promise<Ledger> {
  const link = await openLink(options);
  const store = createStore(link, new Shards(options.shards ?? MAX_SHARDS), options.responseBytes);
  const homes = new KeyHomes(link);
  return onlyFaults({
    ...createRedisPayments(store),
    ...createRedisCredits(store),
    ...createRedisAccounts(store),
    ...createRedisKeys(store, homes),
    ...createRedisCalls(store, homes),
    ...createRedisProviderKeys(store),
    ...createRedisAlerts(store),
    ...createRedisAccountAlerts(store),
    ...createRedisExport(store),
    ...createRedisTrim(store),
    ...createRedisSessions(store),
    checkAccounts: () => checkRedisAccounts(store),
    async ping() {
      await link.run("ping", 0);
    },
    close: () => link.close(),
  });
}

async function openLink(options: RedisLedgerOptions): Promise<RedisLink> {
  const client = connect(options.url, { pipelines: false });
  const sweeper = connect(options.url, { pipelines: true });
  const scripts = readScripts();
  let said: Error | undefined;
  for (const each of [client, sweeper]) {
    each.on("error", options.onConnectionError);
    each.on("error", (error: Error) => {
      said = error;
    });
  }
  try {
    await Promise.all([client.connect(), sweeper.connect()]).catch((error: unknown) => {
      const why = said?.message ?? (error instanceof Error ? error.message : String(error));
      throw new Error(`The Redis that LEDGER_URL names cannot be reached: ${why}`, { cause: said ?? error });
    });
    const prepared = await prepare([client, sweeper], scripts, options);
    return new RedisLink(client, sweeper, scripts, prepared, options.clock);
  } catch (error) {
    client.disconnect();
    sweeper.disconnect();
    throw error;
  }
}

/** What the server or the driver says by itself does not tell where it comes from. */
async function prepare(
  clients: readonly [Client, Client],
  scripts: ReturnType<typeof readScripts>,
  options: RedisLedgerOptions,
): Promise<string> {
  try {
    await Promise.all(clients.map(connectNodes));
    return await prepareRedis(clients[0], scripts, { ...options, shards: options.shards ?? MAX_SHARDS });
  } catch (error) {
    if (error instanceof UnfitRedis) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`The Redis that LEDGER_URL names cannot be used: ${why}`, { cause: error });
  }
}

/** A cluster's driver connects to each master at its first command, and rejects further ones until that connection stands. */
async function connectNodes(client: Client): Promise<void> {
  if (client instanceof Cluster) await Promise.all(client.nodes("master").map((node) => node.ping()));
}

/** Whatever else goes wrong on the way, a record that cannot be read for example, is a fault too: its outcome is unknown. */
function onlyFaults(ledger: Ledger): Ledger {
  return new Proxy(ledger, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        try {
          return await Reflect.apply(method, target, args);
        } catch (cause) {
          if (cause instanceof LedgerFault) throw cause;
          throw new LedgerFault("What Redis holds or answers cannot be read.", { cause });
        }
      };
    },
  });
}
