import { expect, test } from "vitest";
import { endSoon, tryLastStep } from "../../server/payment/last-step.ts";

/** Tries a step that fails so often; the waits are only counted. */
async function tryFailing(times: number) {
  let [calls, waitedMs] = [0, 0];
  const faults: unknown[] = [];
  const done = await tryLastStep(
    async () => {
      calls += 1;
      if (calls <= times) throw new Error(`fault ${calls}`);
    },
    (error) => faults.push(error),
    async (ms) => {
      waitedMs += ms;
    },
  );
  return { done, calls, faults: faults.length, waitedMs };
}

test("a step that works is done once", async () => {
  expect(await tryFailing(0)).toEqual({ done: true, calls: 1, faults: 0, waitedMs: 0 });
});

test("a ledger that is away for four minutes does not lose it", async () => {
  const { done, waitedMs } = await tryFailing(4 + 120);
  expect(done).toBe(true);
  expect(waitedMs).toBeGreaterThan(4 * 60_000);
});

test("it ends, before settled payments that nobody took count as abandoned (10 minutes)", async () => {
  const { done, calls, faults, waitedMs } = await tryFailing(Number.POSITIVE_INFINITY);
  expect(done).toBe(false);
  expect(faults).toBe(calls);
  expect(waitedMs).toBeLessThan(10 * 60_000);
});

test.each([
  [19, true],
  [21, false],
])("a process that stood still for %i minutes goes on: %s", async (minutes, done) => {
  let [now, calls] = [0, 0];
  const step = async () => {
    calls += 1;
    if (calls === 1) throw new Error("fault");
  };
  const standStill = async () => {
    now += minutes * 60_000;
  };
  expect(
    await tryLastStep(
      step,
      () => {},
      standStill,
      () => now,
    ),
  ).toBe(done);
  expect(calls).toBe(done ? 2 : 1);
});

test("an error does not wait for a step that never ends, and for one that ends no longer than it takes", async () => {
  const never = new Promise<never>(() => {});
  await expect(endSoon(never, async () => undefined)).resolves.toBeUndefined();
  await expect(endSoon(Promise.resolve(), () => never)).resolves.toBeUndefined();
});
