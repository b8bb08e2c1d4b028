import { z } from "zod";
import type { RedisLink } from "./redis-link.ts";
import { Places, type Shards, shardKey } from "./redis-shards.ts";

/** What the parts of the Redis ledger share. */
export interface RedisStore {
  readonly link: RedisLink;
  readonly shards: Shards;
  readonly payments: Places;
  readonly keys: Places;
  readonly holds: Places;
  /** Bytes of stored answers that one shard may hold. */
  readonly responseBudget: number;
}

/** Stored answers of all shards together hold at most `responseBytes`. */
export function createStore(link: RedisLink, shards: Shards, responseBytes: number): RedisStore {
  return {
    link,
    shards,
    payments: new Places((id) => searchShards(link, shards, `payment:${id}`)),
    keys: new Places((id) => searchShards(link, shards, `key:${id}`)),
    holds: new Places((id) => searchShards(link, shards, `hold:${id}`)),
    responseBudget: Math.floor(responseBytes / shards.all.length),
  };
}

/** The shard that has this key. */
async function searchShards(link: RedisLink, shards: Shards, name: string): Promise<number | undefined> {
  const exist = await onShards(shards, (shard) =>
    link.askEach((client) => client.exists(`${shardKey(shard)}:${name}`)),
  );
  const shard = exist.indexOf(1);
  return shard === -1 ? undefined : shard;
}

/**
 * So many shards are asked at once. What all of them have to say can be more than comes back in the time of one command, and Redis does
 * nothing else while it says it.
 */
const AT_ONCE = 8;

/** Asks every shard; the answers are in the order of the shards. */
export async function onShards<T>(shards: Shards, ask: (shard: number) => Promise<T>): Promise<readonly T[]> {
  const answers: T[] = [];
  const left = shards.all.entries();
  async function askSome(): Promise<void> {
    for (const [index, shard] of left) answers[index] = await ask(shard);
  }
  await Promise.all(Array.from({ length: AT_ONCE }, askSome));
  return answers;
}

/** Others may take what was found, and the clocks of a cluster's servers differ: what is not taken by then is found next time. */
const MAX_ROUNDS = 10;
const scored = z.array(z.string());

/**
 * Takes those with the lowest scores, of a sorted set that every shard has: at most `limit` whose score is `now - ageMs` or less. The
 * script is asked for them by name and gives those that nobody took meanwhile.
 */
export async function takeLowest<T>(
  { link, shards }: RedisStore,
  set: string,
  { ageMs, limit }: { readonly ageMs: number; readonly limit: number },
  take: (shard: number, members: readonly string[]) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const taken: T[] = [];
  const upTo = (await link.now()) - ageMs;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const left = limit - taken.length;
    const listed = await onShards(shards, async (shard) => {
      const key = `${shardKey(shard)}:${set}`;
      const reply = await link.askEach((client) =>
        client.zrangebyscore(key, "-inf", upTo, "WITHSCORES", "LIMIT", 0, left),
      );
      return readScores(scored.parse(reply), shard);
    });
    const first = listed
      .flat()
      .sort((a, b) => a.score - b.score || byNumber(a.member, b.member))
      .slice(0, left);
    const byShard = new Map<number, string[]>();
    for (const { member, shard } of first) byShard.set(shard, [...(byShard.get(shard) ?? []), member]);
    const found = await Promise.all([...byShard].map(([shard, members]) => take(shard, members)));
    taken.push(...found.flat());
    if (first.length < left || taken.length >= limit) break;
  }
  return taken;
}

interface Scored {
  readonly member: string;
  readonly shard: number;
  readonly score: number;
}

/** Members with their scores, as Redis lists them in turn. */
export function readScores(flat: readonly string[], shard: number): readonly Scored[] {
  const found: Scored[] = [];
  for (let index = 0; index + 1 < flat.length; index += 2) {
    found.push({ member: flat[index] ?? "", shard, score: Number(flat[index + 1]) });
  }
  return found;
}

/** Ids of alerts are numbers: those made first come first. */
function byNumber(a: string, b: string): number {
  return Number(a) - Number(b) || 0;
}

/** Asks the shard that has this; `none` where there is no such thing. */
export async function onShardOf<T>(
  places: Places,
  id: string,
  none: T,
  ask: (shard: number) => Promise<T>,
): Promise<T> {
  const shard = places.known(id) ?? (await places.find(id));
  return shard === undefined ? none : ask(shard);
}

/** Asks each shard about those of these that it has; returns the ids that some shard says are gone, or that are nowhere. */
export async function missing<T extends { readonly id: string }>(
  places: Places,
  all: readonly T[],
  ask: (shard: number, some: readonly T[]) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const byShard = new Map<number, T[]>();
  const gone = new Set<string>();
  for (const each of all) {
    const shard = places.known(each.id) ?? (await places.find(each.id));
    if (shard === undefined) gone.add(each.id);
    else byShard.set(shard, [...(byShard.get(shard) ?? []), each]);
  }
  const answers = await Promise.all([...byShard].map(([shard, some]) => ask(shard, some)));
  for (const id of answers.flat()) gone.add(id);
  return all.filter(({ id }) => gone.has(id)).map(({ id }) => id);
}
