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
  expect(summary.faults["gateway_killed"]).toBeGreaterThan(0);
}, 240_000);
