import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis, startRedisCluster } from "../support/redis-server.ts";
import { type Customer, captures, customer, held } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
let ledger: Ledger;
let heir: RedisServer | undefined;
/** On many shards, so that each master has some. */
let buyers: readonly Customer[];
const OPENING = 1_000n;

beforeAll(async () => {
  cluster = await startRedisCluster();
  ledger = await openRedis(cluster.url);
  buyers = await Promise.all(Array.from({ length: 16 }, () => customer(ledger, OPENING)));
}, 60_000);
afterEach(async () => {
  expect(await ledger.checkAccounts()).toEqual([]);
});
afterAll(async () => {
  await ledger.close();
  await cluster.stop();
  await heir?.stop();
});

async function untilItWorks(): Promise<void> {
  const works = () =>
    Promise.all([ledger.checkAccounts(), ...buyers.map((buyer) => held(ledger, buyer, 0n))]).then(
      () => true,
      (error: unknown) => {
        expect(error).toBeInstanceOf(LedgerFault);
        return false;
      },
    );
  await vi.waitUntil(works, { interval: 50, timeout: 12_000 });
}

const absences: readonly [
  string,
  (server: RedisServer) => Promise<void>,
  (server: RedisServer) => Promise<void>,
][] = [
  ["was killed", (server) => server.kill(), (server) => server.start()],
  ["stands still", async (server) => server.pause(), async (server) => server.resume()],
];

test.each(absences)(
  "a master %s: its calls fail, and all works again by itself, each charged once",
  async (_name, leave, comeBack) => {
    const before = await Promise.all(buyers.map(({ account }) => ledger.balance(account)));
    const holds = await Promise.all(buyers.map((buyer) => held(ledger, buyer, 10n)));
    const capture = () => Promise.allSettled(holds.map((hold) => ledger.capture(captures(hold, 7n))));
    const [server] = cluster.servers;
    if (server === undefined) throw new Error("The cluster has no servers.");
    await leave(server);
    const first = await capture();
    const faults = first.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
    expect(faults.length).toBeGreaterThan(0);
    for (const fault of faults) expect(fault).toBeInstanceOf(LedgerFault);
    await comeBack(server);
    await untilItWorks();
    expect((await capture()).map(({ status }) => status)).toEqual(holds.map(() => "fulfilled"));
    const after = await Promise.all(buyers.map(({ account }) => ledger.balance(account)));
    expect(after).toEqual(before.map((balance) => balance - 7n));
  },
  60_000,
);

test("a master is lost and its replica takes over: the calls find it", async () => {
  const [lost, witness] = cluster.servers;
  if (lost === undefined || witness === undefined) throw new Error("The cluster has no servers.");
  heir = await startRedis([
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "2000",
    "--repl-diskless-sync-delay",
    "0",
  ]);
  const [admin, ofLost] = [new Redis(heir.url), new Redis(lost.url)];
  ofLost.on("error", () => {});
  try {
    await ofLost.config("SET", "repl-diskless-sync-delay", "0");
    const id = String(await ofLost.call("CLUSTER", "MYID"));
    await admin.call("CLUSTER", "MEET", "127.0.0.1", String(witness.port));
    const nodes = async () => String(await admin.call("CLUSTER", "NODES")).split("\n");
    const knows = async () => (await nodes()).some((line) => line.startsWith(id) && line.endsWith(" 0-5460"));
    await vi.waitUntil(knows, { interval: 20, timeout: 10_000 });
    await admin.call("CLUSTER", "REPLICATE", id);
    const follows = async () => (await admin.info("replication")).includes("master_link_status:up");
    await vi.waitUntil(follows, { interval: 20, timeout: 10_000 });
    await Promise.all(buyers.map((buyer) => held(ledger, buyer, 1n)));
    await ofLost.wait(1, 5_000);
    await lost.kill();
    await expect(ledger.checkAccounts()).rejects.toThrow(LedgerFault);
    await admin.call("CLUSTER", "FAILOVER", "TAKEOVER");
    await untilItWorks();
    expect(await admin.info("replication")).toContain("role:master");
  } finally {
    admin.disconnect();
    ofLost.disconnect();
  }
}, 60_000);
