import { expect, test } from "vitest";
import { SHORT } from "./options.ts";

import { describe, summarise } from "./report.ts";
import { runChaos } from "./run-chaos.ts";

test(`faults at random, seed ${SHORT.seed}: the ledger says what the chain, the upstream and the clients know`, async () => {
  const summary = summarise(await runChaos(SHORT, () => undefined));
  expect(summary.violations, describe(summary)).toEqual([]);
  // Somebody was served and something broke, or this proves nothing.
  expect(summary.amounts["paid calls delivered"]).toBeGreaterThan(0);
  expect(summary.amounts["keyed calls delivered"]).toBeGreaterThan(0);
  // Both kill one. Where it is slow to come back, those that are drawn meanwhile find none to kill.
  const { gateway_killed = 0, clock_skewed = 0 } = summary.faults;
  expect(gateway_killed + clock_skewed).toBeGreaterThan(0);
}, 240_000);
