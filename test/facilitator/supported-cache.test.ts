import { afterEach, expect, test } from "vitest";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import { createSupportedCache } from "../../facilitator-client/supported-cache.ts";
import type { SupportedKind } from "../../facilitator-client/types.ts";
import { faults, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { startStubFacilitator } from "../support/stub-facilitator.ts";

const FIRST = "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd";
const SECOND = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
const MAX_AGE_MS = 60_000;
const COOLDOWN_MS = 5_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp() {
  const stub = await startStubFacilitator({ feePayer: FIRST });
  const faulty = await startFaultyFacilitator(stub.url);
  const facilitator = createHttpFacilitator({
    url: faulty.url,
    verifyTimeoutMs: 5_000,
    settleTimeoutMs: 5_000,
  });
  cleanups.push(stub.close, faulty.close, () => facilitator.close());
  const clock = createManualClock();
  const start = () => {
    const cache = createSupportedCache({ facilitator, maxAgeMs: MAX_AGE_MS, cooldownMs: COOLDOWN_MS, clock });
    cleanups.push(() => cache.close());
    return cache;
  };
  return { stub, faulty, clock, start };
}

function feePayers(kinds: readonly SupportedKind[] | undefined) {
  return kinds?.map(({ feePayer }) => feePayer);
}

test("asks at once, and everybody shares the one question", async () => {
  const { faulty, start } = await setUp();
  const hold = faulty.hold("supported");
  const cache = start();
  expect(cache.get()).toBeUndefined();
  const answers = [cache.refresh(), cache.refresh(), cache.refresh()];
  hold.release();
  for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ outcome: "ok" });
  expect(faulty.calls.supported).toBe(1);
  expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  expect(cache.failure()).toBeUndefined();
});

test("a refresh within the cooldown is answered with what is known", async () => {
  const { faulty, clock, start } = await setUp();
  const cache = start();
  await cache.refresh();
  clock.advance(COOLDOWN_MS - 1);
  expect(await cache.refresh()).toMatchObject({ outcome: "ok" });
  expect(faulty.calls.supported).toBe(1);
  clock.advance(1);
  await cache.refresh();
  expect(faulty.calls.supported).toBe(2);
});

test("at its maximum age the answer is asked for again, and serves meanwhile", async () => {
  const { stub, faulty, clock, start } = await setUp();
  const cache = start();
  await cache.refresh();
  const seen: unknown[] = [];
  const unsubscribe = cache.onChange((kinds) => seen.push(feePayers(kinds)));
  stub.setFeePayer(SECOND);
  clock.advance(MAX_AGE_MS - 1);
  expect(clock.waiting()).toEqual([1]);
  const hold = faulty.hold("supported");
  clock.advance(1);
  await hold.arrived;
  expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  hold.release();
  await cache.refresh();
  expect(feePayers(cache.get())).toEqual([SECOND, SECOND]);
  expect(seen).toEqual([[SECOND, SECOND]]);
  expect(faulty.calls.supported).toBe(2);

  unsubscribe();
  stub.setFeePayer(FIRST);
  clock.advance(COOLDOWN_MS);
  await cache.refresh();
  expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  expect(seen).toHaveLength(1);
});

test("an answer that is the same changes nothing", async () => {
  const { clock, start } = await setUp();
  const cache = start();
  const seen: unknown[] = [];
  cache.onChange((kinds) => seen.push(kinds));
  await cache.refresh();
  const before = cache.get();
  clock.advance(COOLDOWN_MS);
  await cache.refresh();
  expect(cache.get()).toBe(before);
  expect(seen).toEqual([before]);
});

test("down at the start: undefined, asked again after each cooldown, recovers by itself", async () => {
  const { faulty, clock, start } = await setUp();
  await faulty.down();
  const cache = start();
  const refused = { outcome: "failed", reason: "connect_failed:ECONNREFUSED" };
  expect(await cache.refresh()).toEqual(refused);
  expect(cache.get()).toBeUndefined();
  expect(cache.failure()).toBe(refused.reason);
  expect(clock.waiting()).toEqual([COOLDOWN_MS]);

  await faulty.up();
  expect(await cache.refresh(), "the cooldown runs").toEqual(refused);
  expect(faulty.calls.supported).toBe(0);

  const recovered = new Promise((resolve) => cache.onChange(resolve));
  clock.advance(COOLDOWN_MS);
  await recovered;
  expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  expect(cache.failure()).toBeUndefined();
});

test("down later: the last good answer serves, however old", async () => {
  const { faulty, clock, start } = await setUp();
  const cache = start();
  await cache.refresh();
  faulty.fail("supported", faults.garbage200, 2);
  for (const wait of [MAX_AGE_MS, COOLDOWN_MS]) {
    const arrived = faulty.nextCall("supported");
    clock.advance(wait);
    await arrived;
    expect(await cache.refresh()).toEqual({ outcome: "failed", reason: "malformed_reply" });
    expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  }
  clock.advance(COOLDOWN_MS);
  expect(await cache.refresh()).toMatchObject({ outcome: "ok" });
  expect(faulty.calls.supported).toBe(4);
});

test("closed: nothing waits, an answer under way is dropped, what is known stays", async () => {
  const { faulty, stub, clock, start } = await setUp();
  const cache = start();
  await cache.refresh();
  stub.setFeePayer(SECOND);
  const hold = faulty.hold("supported");
  clock.advance(MAX_AGE_MS);
  await hold.arrived;
  const underWay = cache.refresh();
  cache.close();
  hold.release();
  await underWay;
  expect(clock.waiting()).toEqual([]);
  expect(feePayers(cache.get())).toEqual([FIRST, FIRST]);
  clock.advance(COOLDOWN_MS);
  await cache.refresh();
  expect(faulty.calls.supported).toBe(2);
});
