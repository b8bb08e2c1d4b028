import type { Ledger } from "../../server/ledger/ledger.ts";
import { openRedisLedger, type RedisLedgerOptions } from "../../server/ledger/redis.ts";

/** A ledger of a few shards, which tests that look at all of them need not wait for. */
export function openRedis(url: string, options: Partial<RedisLedgerOptions> = {}): Promise<Ledger> {
  return openRedisLedger({
    url,
    network: "local",
    acceptDataLoss: false,
    responseBytes: 256 * 1024 * 1024,
    shards: 8,
    onConnectionError: () => {},
    ...options,
  });
}
