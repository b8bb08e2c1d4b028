import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { asks, captures, customer, held, newId, purse, SETTINGS, secret, usageOf } from "./customers.ts";
import { openRedis } from "./open-redis.ts";
import { bring, claimed, HEIGHT, LEASE_MS, randomId, request } from "./world.ts";

let server: RedisServer;
let admin: Redis;
let ledger: Ledger;

beforeEach(async () => {
  server = await startRedis();
  admin = new Redis(server.url);
  ledger = await openRedis(server.url);
});
afterEach(async () => {
  await ledger.close();
  admin.disconnect();
  await server.stop();
});

const fill = () => admin.config("SET", "maxmemory", "1");
const empty = () => admin.config("SET", "maxmemory", "0");
/** Everything that is stored, and of which kind. */
async function contents(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const key of (await admin.keys("*")).sort())
    found[key] = (await admin.dumpBuffer(key)).toString("hex");
  return found;
}

describe("at maxmemory", () => {
  test("nothing new is admitted, and what is refused has left no trace", async () => {
    const buyer = await customer(ledger, 100n);
    const open = request();
    await claimed(ledger, { ...open, leaseMs: 1 });
    const [id, made] = [newId("key"), secret()];
    await fill();
    const before = await contents();
    const idempotency = { hash: randomId(), fingerprint: randomId() };
    const refused = {
      hold: () => ledger.hold(asks(buyer, 10n, { idempotency })),
      claim: () => ledger.claim(request({ identifierHash: randomId() })),
      "claim anew": () => ledger.claim(open),
      creditAccount: () => ledger.creditAccount(buyer.account, 5n, "more"),
      createAccount: () => ledger.createAccount(newId("acct"), "new"),
      createKey: () => ledger.createKey(id, buyer.account, made, SETTINGS, undefined),
      rotateKey: () => ledger.rotateKey(buyer.keyId, secret(), 0, undefined),
      ping: () => ledger.ping(),
    };
    for (const [name, step] of Object.entries(refused)) {
      await expect(step(), name).rejects.toThrow(LedgerFault);
    }
    expect(await contents()).toEqual(before);
    await empty();
    expect(await ledger.hold(asks(buyer, 10n, { idempotency }))).toMatchObject({ outcome: "held" });
    await ledger.ping();
  });

  test("a call whose hold had lapsed frees it, and is refused before it holds anything", async () => {
    const buyer = await customer(ledger, 100n);
    await held(ledger, buyer, 60n, { leaseMs: 0 });
    await fill();
    await expect(ledger.hold(asks(buyer, 60n))).rejects.toThrow(LedgerFault);
    await empty();
    await ledger.sweepHolds();
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 100n, held: 0n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("keyed calls under way are captured and released", async () => {
    const buyer = await customer(ledger, 100n, { limit: 100n });
    const [first, second] = [await held(ledger, buyer, 30n), await held(ledger, buyer, 30n)];
    await fill();
    expect(await ledger.renewHolds([first.id, second.id], LEASE_MS)).toEqual([]);
    expect(await ledger.capture(captures(first, 20n))).toMatchObject({ outcome: "captured", charged: 20n });
    expect(await ledger.releaseHold(second.id, usageOf(second))).toBe("released");
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 80n, held: 0n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("calls that nobody was served are given back", async () => {
    const buyer = await customer(ledger, 100n);
    const [open, charged] = [await held(ledger, buyer, 30n), await held(ledger, buyer, 30n)];
    await fill();
    await ledger.capture(captures(charged, 20n));
    for (const hold of [open, charged]) {
      const { id, account, keyId } = hold;
      const outcome = hold === open ? "freed" : "refunded";
      expect(await ledger.refund({ id, account, keyId, usage: usageOf(hold) })).toBe(outcome);
    }
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 100n, held: 0n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("credit that was paid for reaches its account, also in another shard", async () => {
    // One in eight is in the payer's own.
    const paid = Array.from({ length: 12 }, () => request({ beneficiary: newId("acct"), isTopUp: true }));
    const fences: number[] = [];
    for (const each of paid) {
      await ledger.createAccount(each.beneficiary ?? "", "Beneficiary");
      fences.push(await bring(ledger, each, "settled"));
    }
    await fill();
    for (const [index, { id, beneficiary, amount }] of paid.entries()) {
      expect(await ledger.credit(id, fences[index] ?? 0, "topped_up")).toBe("ok");
      expect(await ledger.balance(beneficiary ?? "")).toBe(amount);
    }
  });

  test("payments under way reach their ends", async () => {
    const [served, failed, lost, refused] = [request(), request(), request(), request()];
    const fences: number[] = [];
    for (const each of [served, failed, lost, refused]) fences.push(await claimed(ledger, each));
    await fill();
    const [a = 0, b = 0, c = 0, d = 0] = fences;
    for (const [{ id }, fence] of [
      [served, a],
      [failed, b],
      [lost, c],
      [refused, d],
    ] as const) {
      expect(await ledger.beginSettle(id, fence, LEASE_MS)).toBe("ok");
    }
    expect(await ledger.settled(served.id, a, "tx", undefined)).toBe("ok");
    expect(await ledger.deliver(served.id, a, undefined)).toBe("ok");
    expect(await ledger.settled(failed.id, b, "tx", undefined)).toBe("ok");
    expect(await ledger.credit(failed.id, b, "upstream_failed")).toBe("ok");
    expect(await ledger.balance(`wallet:${failed.payer}`)).toBe(failed.amount);
    expect(await ledger.unknown(lost.id, c, "timeout", undefined)).toBe("ok");
    const taken = await ledger.takeUndecided(lost.id, HEIGHT, LEASE_MS);
    const verdict = { verdict: "settled", transaction: "tx" } as const;
    expect(await ledger.decide(lost.id, taken === "lost" ? 0 : taken.fence, verdict, 0)).toBe("ok");
    const release = { reason: "refused", watched: true, strikeMs: 1_000 };
    expect(await ledger.release(refused.id, d, release)).toBe("ok");
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("a key can be revoked", async () => {
    const buyer = await customer(ledger, 100n);
    await fill();
    expect(await ledger.revokeKey(buyer.keyId)).toMatchObject({ status: "revoked" });
  });
});

describe("the budget of stored answers", () => {
  const answer = (bytes: number) => ({ sealed: randomBytes(bytes), ttlMs: 60_000 });

  test("is spent: answers are not kept any more, and calls go on", async () => {
    await ledger.close();
    // A shard's part is 4 KiB.
    ledger = await openRedis(server.url, { responseBytes: 8 * 4_096 });
    const buyer = await customer(ledger, 1_000n);
    const replies: unknown[] = [];
    for (let count = 0; count < 4; count += 1) {
      const idempotency = { hash: randomId(), fingerprint: randomId() };
      const hold = await held(ledger, buyer, 10n, { idempotency });
      const result = await ledger.capture(captures(hold, 10n, { idempotency, keep: answer(1_200) }));
      expect(result).toMatchObject({ outcome: "captured", charged: 10n, shortfall: 0n });
      const again = await ledger.hold(asks(buyer, 10n, { idempotency }));
      replies.push(again.outcome === "replay" ? again.response?.sealed.length : again.outcome);
    }
    expect(replies).toEqual([1_200, 1_200, undefined, undefined]);
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 960n, held: 0n });
  });

  test("short answers count for what they take, not for what they say", async () => {
    await ledger.close();
    ledger = await openRedis(server.url, { responseBytes: 8 * 4_096 });
    for (let count = 0; count < 100; count += 1) {
      const asked = request({ payer: "one payer" });
      await ledger.deliver(asked.id, await bring(ledger, asked, "settled"), answer(1));
    }
    expect((await admin.keys("*:response:*")).length).toBe(10);
  });

  test("what has expired makes room", async () => {
    await ledger.close();
    let now = Date.now();
    ledger = await openRedis(server.url, { responseBytes: 8 * 4_096, clock: () => now });
    const payer = "one payer";
    const deliver = async () => {
      const asked = request({ payer });
      const fence = await bring(ledger, asked, "settled");
      await ledger.deliver(asked.id, fence, answer(2_500));
      const again = await ledger.claim(asked);
      return again.outcome === "delivered" ? again.response?.sealed.length : again.outcome;
    };
    expect([await deliver(), await deliver()]).toEqual([2_500, undefined]);
    now += 60_000;
    expect(await deliver()).toBe(2_500);
  });
});
