import { afterAll, beforeAll } from "vitest";
import { startRedisCluster } from "../support/redis-server.ts";
import { ledgerContract } from "./contract.ts";
import { openRedis } from "./open-redis.ts";

let cluster: Awaited<ReturnType<typeof startRedisCluster>> | undefined;
beforeAll(async () => {
  cluster = await startRedisCluster();
}, 60_000);
afterAll(() => cluster?.stop());

ledgerContract("Redis Cluster ledger", (clock) => openRedis(cluster?.url ?? "", { clock }), 0.3);
