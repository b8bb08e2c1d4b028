import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { customer, spend } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

const DAY_MS = 86_400_000;
const ROUNDS = 40;

let server: RedisServer;
let checker: Ledger;
let trimmer: Ledger;
let now = 1_700_000_000_000;
beforeAll(async () => {
  server = await startRedis();
  const clock = () => now;
  checker = await openRedis(server.url, { clock, shards: 1 });
  trimmer = await openRedis(server.url, { clock, shards: 1 });
});
afterAll(async () => {
  await Promise.all([checker.close(), trimmer.close()]);
  await server.stop();
});

test("a check that meets a trim finds nothing wrong", async () => {
  const buyers = await Promise.all(Array.from({ length: 8 }, () => customer(trimmer, 1_000n)));
  for (let round = 0; round < ROUNDS; round += 1) {
    await Promise.all(buyers.map((buyer) => spend(trimmer, buyer, 1n)));
    const { marks } = await trimmer.unexported("journal", undefined, 1_000);
    await trimmer.markExported("journal", marks);
    now += DAY_MS;
    const checks = Promise.all([1, 2, 3, 4].map(() => checker.checkAccounts()));
    // Some round trips later than in the round before, so that the trim meets each part of a check.
    for (let trips = 0; trips < round % 10; trips += 1) await trimmer.ping();
    const [trimmed, found] = await Promise.all([trimmer.trimExported("journal", DAY_MS), checks]);
    expect(trimmed).toBeGreaterThanOrEqual(buyers.length);
    expect(found.flat()).toEqual([]);
  }
});
