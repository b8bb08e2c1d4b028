import { afterEach, beforeEach, expect, test } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { createManualClock, type ManualClock } from "../support/manual-clock.ts";
import { openShop, type Shop } from "../support/shop.ts";

/** What `/supported` answered counts for so long; no question of the clock's own falls into the time of these tests. */
const COOLDOWN_MS = 3_000;
const PATIENCE_MS = 1_000;
const SOON = { interval: 10, timeout: 60_000 };

let shop: Shop;
let clock: ManualClock;
beforeEach(async () => {
  clock = createManualClock();
  shop = await openShop({ clock });
  await expect.poll(readyz, SOON).toEqual([200, { ok: true }]);
});
afterEach(() => shop.close());

/** Keys are served without a facilitator, so the status stays 200 where it fails. */
async function readyz(): Promise<readonly [status: number, facilitator: unknown]> {
  const answer = await fetch(`${shop.url}/readyz`);
  const { checks } = (await answer.json()) as { checks: { facilitator: unknown } };
  return [answer.status, checks.facilitator];
}

test.each([
  ["does not answer", faults.reset],
  ["answers nonsense", faults.garbage200],
])("/readyz says that a lone facilitator fails: it %s", async (_name, fault) => {
  shop.facilitator.fail("supported", fault);
  clock.advance(COOLDOWN_MS);
  const failing = [200, { ok: true, detail: expect.stringMatching(/^http:\S+ failing$/) }];
  expect(await readyz()).toEqual(failing);
  // It was just asked: whoever asks us does not burden it.
  expect(await readyz()).toEqual(failing);
  clock.advance(COOLDOWN_MS);
  await expect.poll(readyz, SOON).toEqual([200, { ok: true }]);
});

test("/readyz does not wait for one that is silent, and says so", async () => {
  shop.facilitator.fail("supported", faults.hang);
  clock.advance(COOLDOWN_MS);
  const answer = readyz();
  await expect.poll(() => clock.waiting(), SOON).toContain(PATIENCE_MS);
  clock.advance(PATIENCE_MS);
  expect(await answer).toEqual([200, { ok: true, detail: expect.stringMatching(/^http:\S+ silent$/) }]);
  // Or the question would hold up the end for the ten seconds that it is given.
  await shop.facilitator.down();
});
