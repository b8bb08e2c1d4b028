import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { asks, type Customer, captures, customer, held, purse } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer;
let proxy: TcpProxy;
let admin: Redis;
let ledger: Ledger;
let buyer: Customer;

beforeEach(async () => {
  server = await startRedis();
  proxy = await startTcpProxy(server.port);
  admin = new Redis(server.url);
  admin.on("error", () => {});
  ledger = await openRedis(`redis://127.0.0.1:${proxy.port}`);
  buyer = await customer(ledger, 1_000n);
});
afterEach(async () => {
  await ledger.close();
  admin.disconnect();
  await proxy.close();
  server.resume();
  await server.stop();
});

/** Resolves when the ledger works again; rejects with anything that is not a fault of the ledger. */
async function untilItWorks(): Promise<void> {
  const works = async () => {
    try {
      await ledger.ping();
      await ledger.checkAccounts();
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(LedgerFault);
      return false;
    }
  };
  await vi.waitUntil(works, { interval: 20, timeout: 15_000 });
}

const capturesIn = async () => {
  const found = await ledger.journal(buyer.account);
  return found.filter(({ kind }) => kind === "capture").length;
};

test("what is stored cannot be read: a fault like any other", async () => {
  const [key = ""] = await admin.keys(`*:account:${buyer.account}`);
  await admin.hset(key, "balance", "much");
  await expect(ledger.account(buyer.account)).rejects.toThrow(LedgerFault);
  await expect(ledger.checkAccounts()).rejects.toThrow(LedgerFault);
});

describe("the connection is open and nothing comes back", () => {
  test("the server's machine vanished: a new connection is made, and the ledger works again", async () => {
    proxy.silence();
    await expect(ledger.hold(asks(buyer, 10n))).rejects.toThrow(LedgerFault);
    await expect(ledger.sweepHolds()).rejects.toThrow(LedgerFault);
    await untilItWorks();
    expect(await ledger.hold(asks(buyer, 10n))).toMatchObject({ outcome: "held" });
  });

  test("the server stands still: what it then does all the same is done once", async () => {
    const hold = await held(ledger, buyer, 100n);
    server.pause();
    await expect(ledger.capture(captures(hold, 40n))).rejects.toThrow(LedgerFault);
    server.resume();
    await untilItWorks();
    const again = await ledger.capture(captures(hold, 40n));
    expect(again).toMatchObject({ charged: 40n, shortfall: 0n });
    expect(await capturesIn()).toBe(1);
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 960n, held: 0n });
  });

  test("many calls wait when it stands still: each is captured once", async () => {
    const holds = await Promise.all(Array.from({ length: 50 }, () => held(ledger, buyer, 10n)));
    const capture = () => Promise.allSettled(holds.map((hold) => ledger.capture(captures(hold, 7n))));
    const first = capture();
    server.pause();
    await first;
    await capture();
    server.resume();
    await untilItWorks();
    const last = await capture();
    expect(last.every(({ status }) => status === "fulfilled")).toBe(true);
    expect(await capturesIn()).toBe(50);
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 650n, held: 0n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });
});

describe("the server cannot write", () => {
  const states: Record<string, readonly [() => Promise<unknown>, () => Promise<unknown>]> = {
    "it became a replica": [() => admin.replicaof("127.0.0.1", 1), () => admin.replicaof("NO", "ONE")],
    "its replicas are gone": [
      () => admin.config("SET", "min-replicas-to-write", "1"),
      () => admin.config("SET", "min-replicas-to-write", "0"),
    ],
    "it waits for a password": [
      () =>
        admin
          .config("SET", "requirepass", "new")
          .then(() => admin.call("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")),
      () => admin.config("SET", "requirepass", ""),
    ],
    "writes are paused": [
      () => admin.call("CLIENT", "PAUSE", "100000", "WRITE"),
      () => admin.call("CLIENT", "UNPAUSE"),
    ],
  };

  test.each(Object.entries(states))(
    "%s: nothing happens, and it works again by itself",
    async (_name, [break_, mend]) => {
      const hold = await held(ledger, buyer, 100n);
      await break_();
      await expect(ledger.hold(asks(buyer, 10n))).rejects.toThrow(LedgerFault);
      await expect(ledger.capture(captures(hold, 40n))).rejects.toThrow(LedgerFault);
      await expect(ledger.creditAccount(buyer.account, 5n, "more")).rejects.toThrow(LedgerFault);
      await expect(ledger.ping()).rejects.toThrow(LedgerFault);
      await mend();
      await untilItWorks();
      await ledger.capture(captures(hold, 40n));
      await ledger.creditAccount(buyer.account, 5n, "more");
      expect((await purse(ledger, buyer.account)).balance).toBe(965n);
      expect(await capturesIn()).toBe(1);
      expect(await ledger.checkAccounts()).toEqual([]);
    },
  );

  test("it became a replica and its name is another server's: that one is found", async () => {
    await admin.config("SET", "repl-diskless-sync-delay", "0");
    const heir = await startRedis(["--replicaof", "127.0.0.1", String(server.port)]);
    const ofHeir = new Redis(heir.url);
    try {
      await vi.waitUntil(async () => String(await ofHeir.info()).includes("master_link_status:up"), {
        interval: 20,
        timeout: 10_000,
      });
      await admin.wait(1, 5_000);
      await ofHeir.replicaof("NO", "ONE");
      await admin.replicaof("127.0.0.1", heir.port);
      proxy.aimAt(heir.port);
      // The old connections are as good as ever.
      await expect(ledger.hold(asks(buyer, 10n))).rejects.toThrow("READONLY");
      await untilItWorks();
      expect(await ledger.hold(asks(buyer, 10n))).toMatchObject({ outcome: "held" });
    } finally {
      ofHeir.disconnect();
      await heir.stop();
    }
  });
});

describe("the server's scripts", () => {
  test("were flushed: they are sent again", async () => {
    await admin.script("FLUSH");
    const hold = await held(ledger, buyer, 100n);
    await admin.script("FLUSH");
    expect(await ledger.capture(captures(hold, 40n))).toMatchObject({ outcome: "captured", charged: 40n });
    expect(await capturesIn()).toBe(1);
  });
});

test("killed and started again: it works by itself, and nothing acknowledged is gone", async () => {
  const hold = await held(ledger, buyer, 100n);
  await ledger.capture(captures(hold, 40n));
  await server.kill();
  await expect(ledger.hold(asks(buyer, 10n))).rejects.toThrow(LedgerFault);
  await server.start();
  await untilItWorks();
  expect(await purse(ledger, buyer.account)).toEqual({ balance: 960n, held: 0n });
});
