import { randomBytes } from "node:crypto";
import { Cluster, type Redis } from "ioredis";
import type { Script } from "./redis-scripts.ts";
import { markKey, Shards, shardKey } from "./redis-shards.ts";

export interface RedisStartOptions {
  readonly network: string;
  readonly shards: number;
  readonly acceptDataLoss: boolean;
}

/** Says what is wrong with this Redis, and what to change. */
export class UnfitRedis extends Error {}

const OLDEST_MAJOR = 7;
const STAMP = "fb:ledger";
/** In one slot with the stamp, so that they are lost together. */
const ID = "fb:id:{fb:ledger}";
/** What a shard has once anything was done in it. */
const BOOKS = ["payments", "accounts", "usage"];

/**
 * Refuses a Redis that is no place for money, and stamps an empty one with its network.
 *
 * Throws {@link UnfitRedis} naming the setting to change: `maxmemory-policy` other than `noeviction`, no append-only file, `appendfsync` other
 * than `always` or paused by `no-appendfsync-on-rewrite`, a ledger of which a part is gone (each may be overridden), a read-only
 * replica, a version before 7, another network. Then loads the scripts. What the driver throws it passes on.
 * Resolves to the ledger's id, by which its shards are marked.
 */
export async function prepareRedis(
  client: Redis | Cluster,
  scripts: ReadonlyMap<string, Script>,
  options: RedisStartOptions,
): Promise<string> {
  const servers = client instanceof Cluster ? client.nodes("master") : [client];
  if (servers.length === 0) throw new UnfitRedis("The Redis Cluster has no master that answers.");
  for (const server of servers) await checkServer(server, options);
  await findRemains(client, options);
  await client.set(STAMP, `${options.shards} shards, ${options.network}`, "NX");
  const stamped = (await client.get(STAMP)) ?? "";
  const [shards, network] = stamped.split(" shards, ");
  if (network !== options.network) {
    throw new UnfitRedis(
      `This Redis was made a ledger for the network ${network} and refuses to serve ${options.network}. ` +
        "Set LEDGER_URL to another server or database.",
    );
  }
  if (shards !== String(options.shards)) {
    throw new UnfitRedis(
      `This Redis is a ledger of ${shards} shards, not ${options.shards}: another version made it.`,
    );
  }
  for (const server of servers) {
    await Promise.all([...scripts.values()].map(({ source }) => server.script("LOAD", source)));
  }
  return markShards(client, options);
}

/** Books without a stamp: the part of a cluster that had it is gone. */
async function findRemains(client: Redis | Cluster, options: RedisStartOptions): Promise<void> {
  if (options.acceptDataLoss || (await client.get(STAMP)) !== null) return;
  const { all } = new Shards(options.shards);
  const names = (shard: number) => BOOKS.map((name) => `${shardKey(shard)}:${name}`);
  const books = await Promise.all(all.map((shard) => client.exists(names(shard))));
  if (books.some((count) => count > 0)) throw lost("its stamp");
}

/** Gives a ledger its id, of a release before too, and each shard its mark. The id comes last: who finds one finds every mark as well. */
async function markShards(client: Redis | Cluster, options: RedisStartOptions): Promise<string> {
  const { all } = new Shards(options.shards);
  const mark = (shards: readonly number[], id: string) =>
    Promise.all(shards.map((shard) => client.set(markKey(shard, id), "1")));
  const known = await client.get(ID);
  if (known === null) {
    const id = randomBytes(8).toString("hex");
    await mark(all, id);
    await client.set(ID, id, "NX");
    // Another gateway that started at the same time may have been first, with marks of its own.
    return (await client.get(ID)) ?? id;
  }
  const marks = await Promise.all(all.map((shard) => client.exists(markKey(shard, known))));
  const gone = all.filter((shard) => marks[shard] === 0);
  if (gone.length > 0 && !options.acceptDataLoss) throw lost(`${gone.length} of ${all.length} shards`);
  await mark(gone, known);
  return known;
}

function lost(what: string): UnfitRedis {
  return new UnfitRedis(
    `This Redis has lost a part of its ledger: ${what}. Restore it; or go on with what is left, which will sell again what it has forgotten, ` +
      "with --accept-data-loss (LEDGER_ACCEPT_DATA_LOSS=true).",
  );
}

async function checkServer(server: Redis, { acceptDataLoss }: RedisStartOptions): Promise<void> {
  const info = await server.info();
  const read = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  const version = read("redis_version") ?? "0";
  const where = `${server.options.host}:${server.options.port}`;
  if (Number.parseInt(version, 10) < OLDEST_MAJOR) {
    throw new UnfitRedis(`Redis at ${where} is version ${version}; Farebox needs ${OLDEST_MAJOR} or newer.`);
  }
  if (read("role") !== "master") {
    throw new UnfitRedis(`Redis at ${where} is a replica. LEDGER_URL must name the master.`);
  }
  const problems = [
    ...wrong("maxmemory-policy", read("maxmemory_policy"), "noeviction", "else Redis may drop balances"),
    ...wrong(
      "appendonly",
      read("aof_enabled") === "1" ? "yes" : "no",
      "yes",
      "else a restart forgets payments",
    ),
    ...wrong("appendfsync", await setting(server, "appendfsync"), "always", "else a crash forgets payments"),
    ...wrong(
      "no-appendfsync-on-rewrite",
      await setting(server, "no-appendfsync-on-rewrite"),
      "no",
      "else a crash while the file is rewritten forgets payments",
    ),
  ];
  if (problems.length === 0 || acceptDataLoss) return;
  throw new UnfitRedis(
    `Redis at ${where} may forget money: ${problems.join("; ")}. ` +
      "Change it in redis.conf, or start with --accept-data-loss (LEDGER_ACCEPT_DATA_LOSS=true).",
  );
}

function wrong(name: string, is: string | undefined, must: string, why: string): readonly string[] {
  return is === must ? [] : [`\`${name}\` is \`${is ?? "unknown"}\` and must be \`${must}\` (${why})`];
}

/** Undefined where the server does not tell (managed services forbid CONFIG). */
async function setting(server: Redis, name: string): Promise<string | undefined> {
  try {
    const reply = await server.config("GET", name);
    return Array.isArray(reply) ? String(reply[1]) : undefined;
  } catch {
    return undefined;
  }
}
