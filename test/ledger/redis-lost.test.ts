import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis, startRedisCluster } from "../support/redis-server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { asks, type Customer, captures, customer, held, purse } from "./customers.ts";
import { openRedis } from "./open-redis.ts";
import { bring, randomId, request } from "./world.ts";

describe("one server", () => {
  let server: RedisServer;
  let admin: Redis;

  beforeEach(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
    admin.on("error", () => {});
  });
  afterEach(async () => {
    admin.disconnect();
    await server.stop();
  });

  /** Whatever would be answered from what is there now, as if nothing had ever been sold. */
  async function expectNothing(ledger: Ledger, served: ReturnType<typeof request>, buyer: Customer) {
    const steps = {
      "a payment that was served": () => ledger.claim(served),
      "a new payment": () => ledger.claim(request()),
      "a key that is remembered": () => ledger.hold(asks(buyer, 10n)),
      "a key that is not": () => ledger.hold(asks({ hash: randomId() }, 10n)),
      "a key that is shown": () => ledger.keyBySecret(randomId()),
      "an account": () => ledger.account(buyer.account),
      "a credit": () => ledger.creditAccount(buyer.account, 5n, "more"),
      "a check": () => ledger.checkAccounts(),
      "whether it is ready": () => ledger.ping(),
    };
    for (const [name, step] of Object.entries(steps)) {
      await expect(step(), name).rejects.toThrow(LedgerFault);
    }
  }

  async function sold(ledger: Ledger) {
    const buyer = await customer(ledger, 100n);
    const served = request();
    await ledger.deliver(served.id, await bring(ledger, served, "settled"), undefined);
    return { buyer, served };
  }

  test("it was emptied: nothing is answered from what is there now, until a gateway starts anew", async () => {
    const ledger = await openRedis(server.url);
    const { buyer, served } = await sold(ledger);
    const call = await held(ledger, buyer, 10n);
    await admin.flushall();
    await expect(ledger.capture(captures(call, 10n))).rejects.toThrow(LedgerFault);
    await expectNothing(ledger, served, buyer);
    expect(await admin.keys("fb:{*")).toEqual([]);
    const next = await openRedis(server.url);
    await customer(next, 100n);
    await expectNothing(ledger, served, buyer);
    await ledger.close();
    await next.close();
  });

  test("its name is another server's, which is a ledger too: nothing is answered from that one", async () => {
    const other = await startRedis();
    const proxy = await startTcpProxy(server.port);
    const ledger = await openRedis(`redis://127.0.0.1:${proxy.port}`);
    const { buyer, served } = await sold(ledger);
    await (await openRedis(other.url)).close();
    proxy.aimAt(other.port);
    await server.kill();
    await vi.waitUntil(() => ledger.ping().then(() => true, isLost), { interval: 20, timeout: 10_000 });
    await expectNothing(ledger, served, buyer);
    await ledger.close();
    await proxy.close();
    await other.stop();
  });

  test("gateways that start at once on an empty one have one ledger", async () => {
    const ledgers = await Promise.all(Array.from({ length: 4 }, () => openRedis(server.url)));
    const [first, ...others] = ledgers;
    if (first === undefined) throw new Error("There is no ledger.");
    const { buyer } = await sold(first);
    for (const each of others) await held(each, buyer, 10n);
    expect(await purse(first, buyer.account)).toEqual({ balance: 100n, held: 30n });
    await Promise.all(ledgers.map((each) => each.close()));
  });

  test("a ledger of the release before is marked when it is opened", async () => {
    const before = await openRedis(server.url);
    const { buyer } = await sold(before);
    await admin.del(...(await admin.keys("*:ledger:*")), "fb:id:{fb:ledger}");
    const ledger = await openRedis(server.url);
    expect(await held(ledger, buyer, 10n)).toMatchObject({ account: buyer.account });
    await before.close();
    await ledger.close();
  });
});

function isLost(error: unknown): boolean {
  return error instanceof Error && error.message.includes("LOST");
}

describe("a master of a cluster loses what it had", () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let masters: readonly Redis[];
  let ledger: Ledger;

  beforeEach(async () => {
    cluster = await startRedisCluster();
    masters = cluster.servers.map(({ url }) => new Redis(url));
    ledger = await openRedis(cluster.url);
  }, 60_000);
  afterEach(async () => {
    await ledger.close();
    for (const each of masters) each.disconnect();
    await cluster.stop();
  });

  async function masterOf(key: string): Promise<Redis> {
    const slot = Number(await masters[0]?.call("CLUSTER", "KEYSLOT", key));
    const found = masters[Math.floor((slot * 3) / 16_384)];
    if (found === undefined) throw new Error("No master has it.");
    return found;
  }

  test("its accounts are refused, those of others served; a start is refused, unless that is accepted", async () => {
    const buyers = await Promise.all(Array.from({ length: 16 }, () => customer(ledger, 100n)));
    const stamped = await masterOf("fb:ledger");
    const others = masters.filter((each) => each !== stamped);
    await Promise.all(others.map((each) => each.flushall()));
    const outcomes = await Promise.all(
      buyers.map((buyer) => held(ledger, buyer, 10n).then(() => "held", isLost)),
    );
    const here = await Promise.all(
      buyers.map(async ({ account }) => (await stamped.keys(`*:account:${account}`)).length > 0),
    );
    expect(outcomes).toEqual(here.map((is) => (is ? "held" : true)));
    expect(new Set(here)).toEqual(new Set([true, false]));
    await expect(openRedis(cluster.url)).rejects.toThrow(/lost a part of its ledger: \d of 8 shards/);
    const accepted = await openRedis(cluster.url, { acceptDataLoss: true });
    await accepted.createAccount("acct_new", "New");
    expect(await accepted.checkAccounts()).toEqual([]);
    await accepted.close();
  });

  test("and with it the ledger's stamp: what is left is not taken for a new ledger", async () => {
    await Promise.all(Array.from({ length: 16 }, () => customer(ledger, 100n)));
    await (await masterOf("fb:ledger")).flushall();
    const start = openRedis(cluster.url);
    await expect(start).rejects.toThrow("lost a part of its ledger: its stamp");
    await expect(openRedis(cluster.url)).rejects.toThrow("--accept-data-loss");
    await (await openRedis(cluster.url, { acceptDataLoss: true })).close();
  });
});
