import { afterAll, beforeAll } from "vitest";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { ledgerContract } from "./contract.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer | undefined;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server?.stop());

ledgerContract("Redis ledger", (clock) => openRedis(server?.url ?? "", { clock }), 0.3);
