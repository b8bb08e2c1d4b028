import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedisCluster } from "../support/redis-server.ts";
import { type Customer, captures, customer, held } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
let ledger: Ledger;
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
