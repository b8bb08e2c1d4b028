import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { MAX_SHARDS, Shards } from "../../server/ledger/redis-shards.ts";
import { onShards } from "../../server/ledger/redis-store.ts";
import { startRedis } from "../support/redis-server.ts";
import { openRedis } from "./open-redis.ts";
import { bring, request } from "./world.ts";

// All at once come back in more than the time of one command, once there is much: then nothing that looks at all shards ever ends.
test("all shards are asked a few at a time, and answer in their order", async () => {
  let underWay = 0;
  let most = 0;
  const answers = await onShards(new Shards(MAX_SHARDS), async (shard) => {
    underWay += 1;
    most = Math.max(most, underWay);
    for (let turns = shard % 3; turns >= 0; turns -= 1) await new Promise(setImmediate);
    underWay -= 1;
    return shard;
  });
  expect(answers).toEqual(Array.from({ length: MAX_SHARDS }, (_, shard) => shard));
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(8);
});

test("the first shard that does not answer ends it", async () => {
  let asked = 0;
  const asking = onShards(new Shards(MAX_SHARDS), async () => {
    asked += 1;
    throw new Error("away");
  });
  await expect(asking).rejects.toThrow("away");
  expect(asked).toBeLessThanOrEqual(8);
});

test("of many undecided payments only those are read that are listed, the oldest of all shards", async () => {
  const server = await startRedis();
  const admin = new Redis(server.url);
  let now = Date.now();
  const ledger = await openRedis(server.url, { clock: () => now });
  const made: string[] = [];
  for (let count = 0; count < 60; count += 1) {
    const asked = request();
    await bring(ledger, asked, "unknown");
    made.push(asked.id);
    now += 1;
  }
  await admin.config("RESETSTAT");
  const listed = await ledger.listUndecided(10);
  const [, reads] = /cmdstat_hgetall:calls=(\d+)/.exec(await admin.info("commandstats")) ?? [];
  expect(listed.map(({ id }) => id)).toEqual(made.slice(0, 10));
  expect(Number(reads)).toBe(10);
  await ledger.close();
  admin.disconnect();
  await server.stop();
});

test("undecided payments come before those that were refused and are only watched, however old these are", async () => {
  const server = await startRedis();
  let now = Date.now();
  const ledger = await openRedis(server.url, { clock: () => now, shards: 1 });
  for (let count = 0; count < 5; count += 1) await bring(ledger, request(), "watched");
  now += 1_000;
  const asked = request();
  await bring(ledger, asked, "unknown");
  expect((await ledger.listUndecided(1)).map(({ id }) => id)).toEqual([asked.id]);
  await ledger.close();
  await server.stop();
});
