import { afterAll, beforeAll } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { clocksContract } from "./contract-clocks.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer | undefined;
const opened: Ledger[] = [];
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await Promise.all(opened.map((ledger) => ledger.close()));
  await server?.stop();
});

clocksContract("a replica whose clock differs took over", async (clock) => {
  const ledger = await openRedis(server?.url ?? "", { clock });
  opened.push(ledger);
  return ledger;
});
