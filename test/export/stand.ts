import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportLedger } from "../../server/export/export-ledger.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openRedisLedger } from "../../server/ledger/redis.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { type Ran, runFarebox } from "../admin/run-farebox.ts";
import { type Customer, customer, spend } from "../ledger/customers.ts";
import { bring, request } from "../ledger/world.ts";
import { startRedis } from "../support/redis-server.ts";

export type Row = Readonly<Record<string, unknown>>;

/** A store that this process has open, as a gateway would, and a directory for files. */
export interface Stand {
  readonly ledger: Ledger;
  readonly out: string;
  /** Runs `farebox` on the same store. */
  farebox(...args: string[]): Promise<Ran>;
  /** Names of the files in `out`, temporary ones too. */
  files(): readonly string[];
  /** What the files of a kind hold, in no special order. */
  rows(kind: string): readonly Row[];
  /** From now on the store's clock says that this much more time has passed. It begins 40 days ago. */
  pass(ms: number): void;
  close(): Promise<void>;
}

export const STORES = ["SQLite", "Redis"] as const;
export const DAY_MS = 86_400_000;

export async function openStand(store: (typeof STORES)[number]): Promise<Stand> {
  const dataDir = mkdtempSync(join(tmpdir(), "farebox-export-"));
  const out = join(dataDir, "out");
  const redis = store === "Redis" ? await startRedis() : undefined;
  let offset = -40 * DAY_MS;
  const clock = () => Date.now() + offset;
  const fail = (error: Error) => {
    throw error;
  };
  const ledger =
    redis === undefined
      ? await openSqliteLedger({
          path: join(dataDir, "ledger.sqlite"),
          network: "local",
          clock,
          onFatal: fail,
        })
      : await openRedisLedger({
          ...{ url: redis.url, network: "local", acceptDataLoss: false, responseBytes: 1_000_000, clock },
          onConnectionError: () => {},
        });
  const env = {
    FAREBOX_DATA_DIR: dataDir,
    ...(redis === undefined ? {} : { LEDGER_URL: redis.url }),
  };
  const files = () => readdirSync(out).sort();
  return {
    ledger,
    out,
    farebox: (...args) => runFarebox(args, { cwd: dataDir, env }),
    files,
    rows: (kind) =>
      files()
        .filter((name) => name.startsWith(`${kind}-`))
        .flatMap((name) => readFileSync(join(out, name), "utf8").trimEnd().split("\n"))
        .map((line) => JSON.parse(line)),
    pass(ms) {
      offset += ms;
    },
    async close() {
      await ledger.close();
      await redis?.stop();
      rmSync(dataDir, { recursive: true });
    },
  };
}

/** A customer who spent 30 and 20 of 1,000, a wallet that is owed, and payments in two states. */
export async function trade(ledger: Ledger) {
  const buyer = await customer(ledger, 1_000n, { label: "=1+1" });
  for (const cost of [30n, 20n]) await spend(ledger, buyer, cost);
  const [delivered, credited, settled] = [request(), request(), request()];
  await bring(ledger, delivered, "delivered");
  await bring(ledger, credited, "credited");
  const fence = await bring(ledger, settled, "settled");
  return { buyer, delivered, credited, settled, fence };
}

/** Exports from this process; `faulty` takes the place of some of the ledger's methods. */
export async function exportHere(
  { ledger, out }: Stand,
  faulty: Partial<Ledger> = {},
  recordsPerFile?: number,
): Promise<void> {
  await exportLedger({
    ...{ ledger: { ...ledger, ...faulty }, directory: out, format: "jsonl", clock: Date.now, recordsPerFile },
    onProgress: () => {},
    onFile: () => {},
  });
}

export function idsOf(rows: readonly Row[]): readonly string[] {
  return rows.map((row) => String(row["export_id"])).sort();
}

/** Everything a customer's money hangs on. */
export async function purseOf(ledger: Ledger, { account, keyId }: Customer) {
  const key = await ledger.key(keyId);
  return { account: await ledger.account(account), usage: key?.usage, spent: key?.spent };
}
