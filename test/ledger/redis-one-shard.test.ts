import { afterAll, beforeAll, describe } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { admissionContract } from "./contract-admission.ts";
import { idempotencyContract } from "./contract-idempotency.ts";
import { identifierContract } from "./contract-identifiers.ts";
import { keyContract } from "./contract-keys.ts";
import { openRedis } from "./open-redis.ts";
import { createClock, type World } from "./world.ts";

/** What belongs to one account or payer alone is its own also where two lie in one shard, whose names begin alike. */
describe("Redis ledger of one shard", () => {
  const clock = createClock();
  let server: RedisServer;
  let ledger: Ledger;
  const world: World = {
    ...clock,
    share: 1,
    get ledger() {
      return ledger;
    },
  };
  beforeAll(async () => {
    server = await startRedis();
    ledger = await openRedis(server.url, { clock: clock.now, shards: 1 });
  });
  afterAll(async () => {
    await ledger.close();
    await server.stop();
  });

  admissionContract(world);
  identifierContract(world);
  idempotencyContract(world);
  keyContract(world);
});
