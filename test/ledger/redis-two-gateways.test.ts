import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { account, anotherKey, asks, captures, customer, held, holdIn, purse, tally } from "./customers.ts";
import { openRedis } from "./open-redis.ts";
import { bring, HEIGHT, LEASE_MS, request } from "./world.ts";

let server: RedisServer;
let here: Ledger;
let there: Ledger;

beforeAll(async () => {
  server = await startRedis();
  [here, there] = [await openRedis(server.url), await openRedis(server.url)];
});
afterEach(async () => {
  expect(await here.checkAccounts()).toEqual([]);
});
afterAll(async () => {
  await here.close();
  await there.close();
  await server.stop();
});

/** Each of so many by one gateway and the other in turn, all at once. */
function both<T>(count: number, ask: (ledger: Ledger, index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => ask(index % 2 === 0 ? here : there, index)));
}

describe("two gateways on one Redis", () => {
  test("hold no more than there is, whichever key pays", async () => {
    const owner = await account(here, 100n);
    const keys = [await anotherKey(here, owner), await anotherKey(there, owner)];
    const outcomes = await both(40, (ledger, index) =>
      ledger.hold(asks(keys[index % 2] ?? { hash: "" }, 7n)),
    );
    expect(tally(outcomes)).toEqual({ held: 14, insufficient_credits: 26 });
    expect(await purse(there, owner)).toEqual({ balance: 100n, held: 98n });
  });

  test("hold no more than a key's limit", async () => {
    const buyer = await customer(here, 1_000n, { limit: 50n });
    const outcomes = await both(20, (ledger) => ledger.hold(asks(buyer, 10n)));
    expect(tally(outcomes)).toEqual({ held: 5, key_limit_reached: 15 });
  });

  test("share a rate and a concurrency", async () => {
    const rated = await customer(here, 1_000n, { rpm: 5 });
    expect(tally(await both(20, (ledger) => ledger.hold(asks(rated, 1n))))).toEqual({
      held: 5,
      rate_limited: 15,
    });
    const narrow = await customer(there, 1_000n, { concurrency: 3 });
    const outcomes = await both(20, (ledger) => ledger.hold(asks(narrow, 1n)));
    expect(tally(outcomes)).toEqual({ held: 3, too_many_concurrent: 17 });
    const [first] = outcomes.filter(({ outcome }) => outcome === "held");
    if (first === undefined) throw new Error("none was held");
    await there.capture(captures(holdIn(first), 1n));
    expect(await here.hold(asks(narrow, 1n))).toMatchObject({ outcome: "held" });
  });

  test("one charges what the other held, once", async () => {
    const buyer = await customer(here, 100n);
    const hold = await held(here, buyer, 50n);
    const results = await both(10, (ledger) => ledger.capture(captures(hold, 30n)));
    expect(tally(results)).toEqual({ captured: 1, repeated: 9 });
    expect(await purse(there, buyer.account)).toEqual({ balance: 70n, held: 0n });
  });

  test("a key revoked at one is refused by the other at its next request", async () => {
    const buyer = await customer(here, 100n);
    expect(await there.hold(asks(buyer, 1n))).toMatchObject({ outcome: "held" });
    await here.revokeKey(buyer.keyId);
    expect(await there.hold(asks(buyer, 1n))).toEqual({ outcome: "revoked" });
    expect(await there.keyBySecret(buyer.hash)).toMatchObject({ key: { status: "revoked" } });
  });

  test("a payment is claimed by one, and settled by one", async () => {
    const asked = request();
    const outcomes = await both(20, (ledger) => ledger.claim(asked));
    expect(tally(outcomes)).toEqual({ claimed: 1, in_progress: 19 });
    const steps = await both(10, (ledger) => ledger.beginSettle(asked.id, 1, LEASE_MS));
    expect(steps.filter((step) => step === "ok")).toHaveLength(1);
    expect(await there.settled(asked.id, 1, "tx", undefined)).toBe("ok");
    expect(
      (await both(10, (ledger) => ledger.credit(asked.id, 1, "failed"))).filter((step) => step === "ok"),
    ).toHaveLength(1);
    expect(await here.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
  });

  test("payments of one payer in flight are counted together", async () => {
    const payer = "a payer of two gateways";
    const outcomes = await both(20, (ledger) => ledger.claim(request({ payer, maxInFlight: 4 })));
    expect(tally(outcomes)).toEqual({ claimed: 4, too_many_in_flight: 16 });
  });

  test("an undecided payment is asked about by one", async () => {
    const asked = request();
    await bring(here, asked, "unknown");
    const taken = await both(10, (ledger) => ledger.takeUndecided(asked.id, HEIGHT, LEASE_MS));
    expect(taken.filter((each) => each !== "lost")).toHaveLength(1);
  });

  test("a sweep at one never frees twice what the other ends", async () => {
    const buyer = await customer(here, 1_000n);
    const holds = await Promise.all(Array.from({ length: 30 }, () => held(here, buyer, 10n, { leaseMs: 1 })));
    await Promise.all([
      ...holds.map((hold) => there.capture(captures(hold, 10n))),
      here.sweepHolds(),
      there.sweepHolds(),
    ]);
    expect(await purse(here, buyer.account)).toEqual({ balance: 700n, held: 0n });
  });
});

test("thousands of leases are renewed at once", async () => {
  const buyer = await customer(here, 1_000_000n);
  const ids: string[] = [];
  while (ids.length < 5_000) {
    const some = await Promise.all(Array.from({ length: 250 }, () => held(here, buyer, 1n)));
    ids.push(...some.map(({ id }) => id));
  }
  expect(await there.renewHolds([...ids, "f".repeat(32)], LEASE_MS)).toEqual(["f".repeat(32)]);
});

test("a key may have a thousand models", async () => {
  const buyer = await customer(here, 100n);
  const models = Array.from({ length: 1_000 }, (_, index) => `vendor/model-${index}`);
  await here.changeKey(buyer.keyId, { models });
  expect(await there.hold(asks(buyer, 1n, { model: "vendor/model-999" }))).toMatchObject({ outcome: "held" });
  expect(await there.hold(asks(buyer, 1n, { model: "vendor/model-1000" }))).toEqual({
    outcome: "model_not_allowed",
  });
});

test("alerts that nobody took for long are all taken, each by one", async () => {
  const buyers = await Promise.all(Array.from({ length: 20 }, () => customer(here, 100n, { limit: 10n })));
  await Promise.all(buyers.map(async (buyer) => here.capture(captures(await held(here, buyer, 10n), 10n))));
  const taken = (await both(2, (ledger) => ledger.takeAlerts(100_000, 60_000))).flat();
  expect(taken).toHaveLength(40);
  expect(new Set(taken.map(({ id }) => id)).size).toBe(40);
});
