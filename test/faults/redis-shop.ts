import { Redis } from "ioredis";
import { vi } from "vitest";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import type { ShopOptions } from "../support/shop.ts";

/** A shop whose ledger is in a Redis of its own. */
export interface RedisShop {
  readonly shop: KeyedShop;
  readonly redis: RedisServer;
  /** Beside the gateway, for what only an operator does. */
  readonly admin: Redis;
  /** Resolves when the gateway's ledger works. */
  untilItWorks(): Promise<void>;
  /** Lets the lease of one payment run out now, as if its time had passed. */
  endLease(id: string): Promise<void>;
  close(): Promise<void>;
}

export async function openRedisShop(options: ShopOptions = {}): Promise<RedisShop> {
  const redis = await startRedis();
  const admin = new Redis(redis.url);
  admin.on("error", () => {});
  const shop = await openKeyedShop({ ...options, env: { LEDGER_URL: redis.url, ...options.env } });
  const works = () =>
    shop.gateway.ledger
      .ping()
      .then(() => shop.gateway.ledger.sweepHolds())
      .then(
        () => true,
        () => false,
      );
  return {
    shop,
    redis,
    admin,
    untilItWorks: () => vi.waitUntil(works, { interval: 10, timeout: 15_000 }).then(() => undefined),
    async endLease(id) {
      const keys = await admin.keys(`*:payment:${id}`);
      const key = keys.find((each) => !each.includes(":response:"));
      if (key === undefined) throw new Error(`There is no payment ${id}.`);
      await admin.hincrby(key, "lease_until", -shop.config.payment.leaseMs);
    },
    async close() {
      await shop.close();
      admin.disconnect();
      await redis.stop();
    },
  };
}
