import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { prepareDataDirectory } from "../data-directory.ts";
import type { Ledger } from "./ledger.ts";
import { openSqliteLedger } from "./sqlite.ts";
import type { Serving } from "./sqlite-link.ts";

/** Which store, and what it is stamped with. */
export type LedgerSettings = Pick<Config, "network" | "caip2" | "dataDir" | "ledger">;

export interface OpenLedgerOptions {
  /** SQLite: what is stored is no longer known, and the process must stop. */
  readonly onFatal: (error: Error) => void;
  /** SQLite, of who serves calls from it: see there. */
  readonly serving?: Serving;
  /** Redis: the connection broke, or could not be mended yet. */
  readonly onConnectionError: (error: Error) => void;
}

const FILE = "ledger.sqlite";

/** Whether there is a ledger to look at. A Redis is one, also an empty one. */
export function hasLedger({ dataDir, ledger }: LedgerSettings): boolean {
  return ledger.url !== undefined || existsSync(join(dataDir, FILE));
}

/** Opens the store of these settings: Redis where `LEDGER_URL` is set, else SQLite in the data directory. Rejects with Error. */
export async function openLedger(settings: LedgerSettings, options: OpenLedgerOptions): Promise<Ledger> {
  const { dataDir, ledger, caip2 } = settings;
  const network = settings.network === "local" ? "local" : caip2;
  if (ledger.url === undefined) {
    prepareDataDirectory(dataDir);
    const { onFatal, serving } = options;
    return openSqliteLedger({ path: join(dataDir, FILE), network, onFatal, serving });
  }
  // A process without Redis, such as a command, does not wait for its client to load.
  const { openRedisLedger } = await import("./redis.ts");
  return openRedisLedger({
    url: ledger.url,
    network,
    acceptDataLoss: ledger.acceptDataLoss,
    responseBytes: ledger.responseBytes,
    onConnectionError: options.onConnectionError,
  });
}
