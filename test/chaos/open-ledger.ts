import { join } from "node:path";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openRedisLedger } from "../../server/ledger/redis.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import type { World } from "./world.ts";

/** Every lease is over by then. */
const AHEAD_MS = 3_600_000;

/** Opens the run's ledger beside its gateways, by a clock at which every lease is over: nothing has to be waited for. */
export async function openRunLedger(world: World, network: string): Promise<Ledger> {
  const clock = () => Date.now() + AHEAD_MS;
  const fail = (error: Error) => {
    throw error;
  };
  if (world.redis !== undefined) {
    return openRedisLedger({
      url: world.redis.url,
      network,
      acceptDataLoss: false,
      responseBytes: 0,
      clock,
      onConnectionError: fail,
    });
  }
  return openSqliteLedger({ path: join(world.dataDir, "ledger.sqlite"), network, clock, onFatal: fail });
}
