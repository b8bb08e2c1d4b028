import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Customer, customer, held, spend } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer;
let admin: Redis;
let ledger: Ledger;
let buyer: Customer;
beforeEach(async () => {
  server = await startRedis();
  admin = new Redis(server.url);
  ledger = await openRedis(server.url, { shards: 1 });
  buyer = await customer(ledger, 1_000n);
  await spend(ledger, buyer, 10n);
  await held(ledger, buyer, 20n);
});
afterEach(async () => {
  await ledger.close();
  admin.disconnect();
  await server.stop();
});

describe("what does not add up is found", () => {
  test.each([1, -1])("a balance, a hold, a key's usage: too much or too little (%i)", async (sign) => {
    expect(await ledger.checkAccounts()).toEqual([]);
    const { account, keyId } = buyer;
    const [owner, key] = [`fb:{0}:account:${account}`, `fb:{0}:key:${keyId}`];
    await admin.hincrby(owner, "balance", sign);
    await admin.hincrby(owner, "held", 2 * sign);
    await admin.hincrby(key, "usage", 3 * sign);
    await admin.hincrby(key, "held", 4 * sign);
    const off = (right: bigint, by: number) => ({ recorded: right + BigInt(by * sign), computed: right });
    expect(await ledger.checkAccounts()).toEqual([
      { account, keyId: undefined, problem: "balance_is_not_its_journal", ...off(990n, 1) },
      { account, keyId: undefined, problem: "held_is_not_its_holds", ...off(20n, 2) },
      { account, keyId, problem: "held_is_not_its_holds", ...off(20n, 4) },
      { account, keyId, problem: "usage_is_not_its_journal", ...off(10n, 3) },
    ]);
  });

  test("an entry that is gone from a journal, and one too many", async () => {
    const journal = `fb:{0}:journal:${buyer.account}`;
    const [[first = "", fields = []] = []] = await admin.xrange(journal, "-", "+", "COUNT", 1);
    await admin.xdel(journal, first);
    expect(await ledger.checkAccounts()).toMatchObject([
      { problem: "balance_is_not_its_journal", recorded: 990n, computed: -10n },
    ]);
    await admin.xadd(journal, "*", ...fields);
    expect(await ledger.checkAccounts()).toEqual([]);
    await admin.xadd(journal, "*", ...fields);
    expect(await ledger.checkAccounts()).toMatchObject([
      { problem: "balance_is_not_its_journal", recorded: 990n, computed: 1_990n },
    ]);
  });

  test("more held than there is, though its holds add up", async () => {
    const { account, keyId } = buyer;
    const [hold = ""] = await admin.keys("fb:{0}:hold:*");
    await admin.hset(hold, "amount", "991");
    await admin.hset(`fb:{0}:account:${account}`, "held", "991");
    await admin.hset(`fb:{0}:key:${keyId}`, "held", "991");
    expect(await ledger.checkAccounts()).toEqual([
      { account, keyId: undefined, problem: "held_exceeds_balance", recorded: 991n, computed: 990n },
    ]);
  });
});
