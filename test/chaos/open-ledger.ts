import { join } from "node:path";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import type { World } from "./world.ts";

/** Every lease is over by then. */
const AHEAD_MS = 3_600_000;

/**
 * Opens the run's ledger beside its gateways. With SQLite the clock is ours to set, so nothing has to be waited for; in
 * Redis leases end by Redis's own clock.
 */
export async function openRunLedger(world: World, network: string): Promise<Ledger> {
  if (world.redis !== undefined) throw new Error("There is no Redis ledger in this build.");
  return openSqliteLedger({
    path: join(world.dataDir, "ledger.sqlite"),
    network,
    clock: () => Date.now() + AHEAD_MS,
    onFatal: (error) => {
      throw error;
    },
  });
}
