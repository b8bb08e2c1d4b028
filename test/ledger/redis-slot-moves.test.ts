import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { shardKey } from "../../server/ledger/redis-shards.ts";
import { startRedisCluster } from "../support/redis-server.ts";
import { asks, type Customer, captures, customer, held, purse } from "./customers.ts";
import { openRedis } from "./open-redis.ts";
import { bring, request } from "./world.ts";

const SHARDS = 8;
let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
let masters: readonly Redis[];
let ledger: Ledger;

beforeAll(async () => {
  cluster = await startRedisCluster();
  masters = cluster.servers.map(({ url }) => new Redis(url));
  ledger = await openRedis(cluster.url, { shards: SHARDS });
}, 60_000);
afterEach(async () => {
  expect(await ledger.checkAccounts()).toEqual([]);
});
afterAll(async () => {
  await ledger.close();
  for (const each of masters) each.disconnect();
  await cluster.stop();
});

const keysIn = async (master: Redis, slot: string) =>
  (await master.call("CLUSTER", "GETKEYSINSLOT", slot, "1000")) as string[];

/** A move of a shard's slot to another master, as an operator's tool makes it, step by step. */
async function beginMove(shard: number) {
  const slot = String(await masters[0]?.call("CLUSTER", "KEYSLOT", shardKey(shard)));
  const here = await Promise.all(masters.map(async (each) => (await keysIn(each, slot)).length > 0));
  const source = masters[here.indexOf(true)];
  const target = masters[here.indexOf(false)];
  if (source === undefined || target === undefined) throw new Error("The shard is on no master.");
  const [from, to] = await Promise.all([source, target].map((each) => each.call("CLUSTER", "MYID")));
  await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", String(from));
  await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", String(to));
  return {
    /** Moves what has this in its name. */
    async move(part: string): Promise<void> {
      const keys = (await keysIn(source, slot)).filter((key) => key.includes(part));
      const { host = "", port = 0 } = target.options;
      await source.call("MIGRATE", host, String(port), "", "0", "5000", "KEYS", ...keys);
    },
    async end(): Promise<void> {
      expect(await keysIn(source, slot)).toEqual([]);
      for (const each of [target, source, ...masters]) {
        await each.call("CLUSTER", "SETSLOT", slot, "NODE", String(to));
      }
    },
  };
}

/** An account and a served payment of one shard. */
async function busyShard() {
  const buyer: Customer = await customer(ledger, 1_000n);
  const call = await held(ledger, buyer, 100n);
  const shard = await shardOf(`account:${buyer.account}`);
  for (;;) {
    const paid = request();
    await ledger.deliver(paid.id, await bring(ledger, paid, "settled"), undefined);
    if ((await shardOf(`payment:${paid.id}`)) === shard) return { buyer, call, paid, shard };
  }
}

async function shardOf(name: string): Promise<number> {
  const found = await Promise.all(masters.map((each) => each.keys(`*:${name}`)));
  return Number(/\{(\d+)\}/.exec(found.flat()[0] ?? "")?.[1]);
}

// What is still at the old master, and what is at the new one already, while the calls come.
test.each([
  ["nothing", undefined],
  ["accounts", ":account:"],
  ["payments", ":payment:"],
  ["journals", ":journal:"],
])(
  "a shard's slot moves, %s first: its calls are refused meanwhile, and nothing is done twice or lost",
  async (_name, part) => {
    const { buyer, call, paid, shard } = await busyShard();
    const moving = await beginMove(shard);
    if (part !== undefined) await moving.move(part);
    await expect(ledger.claim(paid)).rejects.toThrow(LedgerFault);
    await expect(ledger.hold(asks(buyer, 10n))).rejects.toThrow(LedgerFault);
    await expect(ledger.capture(captures(call, 40n))).rejects.toThrow(LedgerFault);
    await expect(ledger.checkAccounts()).rejects.toThrow(LedgerFault);
    await moving.move("");
    await moving.end();
    expect(await ledger.claim(paid)).toMatchObject({ outcome: "delivered" });
    expect(await ledger.capture(captures(call, 40n))).toMatchObject({ charged: 40n, shortfall: 0n });
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 960n, held: 0n });
    const captured = (await ledger.journal(buyer.account)).filter(({ kind }) => kind === "capture");
    expect(captured).toHaveLength(1);
  },
  60_000,
);
