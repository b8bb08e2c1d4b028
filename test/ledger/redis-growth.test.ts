import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { anotherKey, captures, customer, held, secret, usageOf } from "./customers.ts";
import { openRedis } from "./open-redis.ts";
import { bring, claimed, createClock, keep, LEASE_MS, randomId, request, STANDS } from "./world.ts";

const DAY_MS = 86_400_000;
let clock: ReturnType<typeof createClock>;
let server: RedisServer;
let admin: Redis;
let ledger: Ledger;

beforeEach(async () => {
  clock = createClock();
  server = await startRedis();
  admin = new Redis(server.url);
  ledger = await openRedis(server.url, { clock: clock.now });
});
afterEach(async () => {
  await ledger.close();
  admin.disconnect();
  await server.stop();
});

/** The kinds of keys that are stored and never expire by themselves: `fb:{7}:call:…` is a `call`. */
async function kinds(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const key of await admin.keys("fb:{*")) {
    if ((await admin.pttl(key)) === -1) found.add(key.split(":")[2] ?? "");
  }
  return found;
}

const wish = () => ({ hash: randomId(), fingerprint: randomId() });

test("of a key that is rotated again and again only the secrets that still open it stay", async () => {
  const buyer = await customer(ledger, 1_000n);
  for (let rotation = 0; rotation < 20; rotation += 1) {
    await ledger.rotateKey(buyer.keyId, secret(), rotation === 19 ? 60_000 : 0, undefined);
    clock.pass(1);
  }
  const secrets = (await admin.keys("fb:{*:secret:*")).length;
  const [members = ""] = await admin.keys("fb:{*:secrets:*");
  // The newest, and the one before it, which is valid for a minute more.
  expect([secrets, await admin.scard(members)]).toEqual([2, 2]);
});

test("what is for a time only is gone after it; what stays are the books, and what they are made of", async () => {
  const buyer = await customer(ledger, 1_000n, { limit: 10n });
  await ledger.rotateKey((await anotherKey(ledger, buyer.account)).keyId, secret(), 0, wish());
  const idempotency = wish();
  const called = await held(ledger, buyer, 9n, { idempotency });
  await ledger.capture(captures(called, 9n, { idempotency, keep: keep("an answer"), lowBalance: 995n }));
  const freed = await held(ledger, await anotherKey(ledger, buyer.account), 1n);
  await ledger.releaseHold(freed.id, usageOf(freed));
  await held(ledger, await anotherKey(ledger, buyer.account), 1n, { idempotency: wish() });
  for (const stand of STANDS) {
    const asked = request({ identifierHash: randomId() });
    const fence = await bring(ledger, asked, stand);
    if (stand === "settled") await ledger.deliver(asked.id, fence, keep("an answer"));
    if (stand === "parked") await ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
  }
  const struck = request();
  await ledger.release(struck.id, await claimed(ledger, struck), {
    reason: "left",
    watched: false,
    strikeMs: 60_000,
  });

  clock.pass(2 * DAY_MS);
  for (const { id, fence } of await ledger.takeAbandoned(0, LEASE_MS, 100))
    await ledger.credit(id, fence, "abandoned");
  for (const record of await ledger.listUndecided(100)) {
    const taken = await ledger.takeUndecided(record.id, 1n, LEASE_MS);
    if (taken !== "lost")
      await ledger.decide(record.id, taken.fence, { verdict: "absent", reason: "never_landed" }, 0);
  }
  for (const { id, fence } of await ledger.takeAbandoned(0, LEASE_MS, 100))
    await ledger.credit(id, fence, "abandoned");
  for (const { id } of await ledger.takeAlerts(100, LEASE_MS)) await ledger.endAlert(id);
  await ledger.sweepHolds();
  await ledger.sweepResponses();

  expect([...(await kinds())].sort()).toEqual([
    "account",
    "accounts",
    // The number of the last one.
    "alerts",
    // Of delivered and credited payments: each may come once more.
    "identifier",
    // Of payments that were claimed and left: part of their records.
    "in_flight",
    "journal",
    "key",
    "keys",
    // Its mark.
    "ledger",
    "payment",
    "payments",
    "references",
    // Its size, 0.
    "responses",
    "rotation_request",
    "secret",
    "secrets",
    // Of the parked payment, as long as its record is there.
    "stand_in",
    "unexported",
    "usage",
  ]);
  const [size] = await admin.keys("*:responses:size");
  expect(Number(await admin.get(size ?? ""))).toBe(0);
});

test("that a hold ended is known for longer than anybody tries again to end it, and not for ever", async () => {
  const buyer = await customer(ledger, 1_000n);
  const hold = await held(ledger, buyer, 9n);
  await ledger.capture(captures(hold, 9n));
  const [note = ""] = await admin.keys(`*:ended:${hold.id}`);
  // Redis forgets by its own clock, not by the test's.
  const left = await admin.pttl(note);
  // 20 minutes (payment/last-step.ts).
  expect(left).toBeGreaterThan(25 * 60_000);
  expect(left).toBeLessThanOrEqual(30 * 60_000);
});

test("what a payment remembers of those it stood in for goes when it is trimmed", async () => {
  const asked = request();
  await bring(ledger, asked, "parked");
  let fence = 0;
  for (const other of [randomId(), randomId(), randomId()]) {
    const resumed = await ledger.resume(asked.id, asked.fingerprint, LEASE_MS, other);
    fence = resumed === "lost" ? 0 : resumed.fence;
    clock.pass(LEASE_MS);
  }
  await ledger.deliver(asked.id, fence, undefined);
  const notes = async () => (await admin.keys("*:stand_in:*")).length;
  expect(await notes()).toBe(3);
  let after: string | undefined;
  do {
    const page = await ledger.unexported("payments", after, 100);
    await ledger.markExported("payments", page.marks);
    after = page.next;
  } while (after !== undefined);
  clock.pass(DAY_MS);
  await ledger.trimExported("payments", DAY_MS);
  expect(await ledger.payment(asked.id)).toBeUndefined();
  expect(await notes()).toBe(0);
});

test("idempotency keys are forgotten faster than they come, also without a sweep", async () => {
  const buyer = await customer(ledger, 1_000_000n);
  const callMany = async (count: number) => {
    for (let done = 0; done < count; done += 100) {
      const calls = Array.from({ length: 100 }, async () => {
        const idempotency = wish();
        const hold = await held(ledger, buyer, 1n, { idempotency });
        await ledger.capture(captures(hold, 1n, { idempotency, keep: keep("an answer", DAY_MS) }));
      });
      await Promise.all(calls);
    }
  };
  const stored = async () => (await admin.keys("*:call:*")).length;
  await callMany(800);
  expect(await stored()).toBeGreaterThanOrEqual(800);
  clock.pass(DAY_MS);
  await callMany(300);
  // A call and its answer are two keys.
  expect(await stored()).toBe(600);
});
