import { join } from "node:path";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import type { ChaosOptions } from "./options.ts";
import type { World } from "./world.ts";

/** Throws when a run begins, not when its books are to be read, if they could not be. */
export function demandLedger(ledger: ChaosOptions["ledger"]): void {
  if (ledger === "redis") throw new Error("This build has no Redis ledger yet.");
}

/** Every lease is over by then. */
const AHEAD_MS = 3_600_000;

/**
 * Opens the run's ledger beside its gateways. With SQLite the clock is ours to set, so nothing has to be waited for; in
 * Redis leases end by Redis's own clock.
 */
export async function openRunLedger(world: World, network: string): Promise<Ledger> {
  return openSqliteLedger({
    path: join(world.dataDir, "ledger.sqlite"),
    network,
    clock: () => Date.now() + AHEAD_MS,
    onFatal: (error) => {
      throw error;
    },
  });
}
