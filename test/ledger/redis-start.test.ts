import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer;
let admin: Redis;

beforeAll(async () => {
  server = await startRedis();
  admin = new Redis(server.url);
});
afterEach(() => admin.flushall());
afterAll(async () => {
  admin.disconnect();
  await server.stop();
});

/** The refusal of a start, or undefined if it started. */
async function refusal(...[url, options]: Parameters<typeof openRedis>): Promise<string | undefined> {
  try {
    const ledger = await openRedis(url, options);
    await ledger.close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

test("what the server itself says at the start is told with the setting that names it", async () => {
  await admin.acl("SETUSER", "reader", "reset", "on", ">word", "~*", "+@all", "-script");
  const url = server.url.replace("redis://", "redis://reader:word@");
  expect(await refusal(url)).toMatch(/^The Redis that LEDGER_URL names cannot be used: NOPERM .*script/);
  await admin.acl("DELUSER", "reader");
});

describe("a Redis that may forget money is refused, and named is what to change", () => {
  test.each([
    ["maxmemory-policy", "allkeys-lru", "noeviction"],
    ["maxmemory-policy", "volatile-ttl", "noeviction"],
    ["appendonly", "no", "yes"],
    ["appendfsync", "everysec", "always"],
    ["appendfsync", "no", "always"],
    ["no-appendfsync-on-rewrite", "yes", "no"],
  ])("%s %s", async (setting, is, must) => {
    await admin.config("SET", setting, is);
    try {
      const message = await refusal(server.url);
      expect(message).toContain(`\`${setting}\` is \`${is}\` and must be \`${must}\``);
      expect(message).toContain("--accept-data-loss");
      expect(await admin.dbsize(), "nothing is written before").toBe(0);
      expect(await refusal(server.url, { acceptDataLoss: true })).toBeUndefined();
    } finally {
      await admin.config("SET", setting, must);
    }
    expect(await refusal(server.url)).toBeUndefined();
  });

  test("all that is wrong is named at once", async () => {
    await admin.config("SET", "maxmemory-policy", "allkeys-lfu", "appendfsync", "everysec");
    try {
      const message = await refusal(server.url);
      expect(message).toContain("maxmemory-policy");
      expect(message).toContain("appendfsync");
    } finally {
      await admin.config("SET", "maxmemory-policy", "noeviction", "appendfsync", "always");
    }
  });
});

describe("what nothing overrides", () => {
  test("a replica", async () => {
    await admin.replicaof("127.0.0.1", 1);
    try {
      expect(await refusal(server.url, { acceptDataLoss: true })).toContain("is a replica");
    } finally {
      await admin.replicaof("NO", "ONE");
    }
  });

  test("another network", async () => {
    expect(await refusal(server.url)).toBeUndefined();
    const message = await refusal(server.url, { network: "solana:mainnet", acceptDataLoss: true });
    expect(message).toContain("for the network local and refuses to serve solana:mainnet");
  });

  test("another number of shards", async () => {
    expect(await refusal(server.url)).toBeUndefined();
    expect(await refusal(server.url, { shards: 9, acceptDataLoss: true })).toContain("8 shards, not 9");
  });

  test("nobody there", async () => {
    expect(await refusal("redis://127.0.0.1:1", { acceptDataLoss: true })).toContain("127.0.0.1:1");
  });

  test("a password that is wrong, which is not repeated", async () => {
    await admin.config("SET", "requirepass", "right");
    try {
      const message = await refusal(`redis://:wrong-word@127.0.0.1:${server.port}`);
      expect(message).toMatch(/WRONGPASS|NOAUTH/);
      expect(message).not.toContain("wrong-word");
    } finally {
      await admin.config("SET", "requirepass", "");
    }
  });
});
