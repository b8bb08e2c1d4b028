import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { createHandlers } from "../../server/ledger/sqlite-handlers.ts";
import { openDatabase } from "../../server/ledger/sqlite-schema.ts";
import { OUTCOMES, runMoneyModel } from "./run-money-model.ts";
import { createClock } from "./world.ts";

/** The worker's handlers on this thread: a crash is then a matter of milliseconds, and exactly where it is wanted. */
function ledgerOn(db: Database.Database, now: () => number, commit: boolean): Ledger {
  const handlers = createHandlers(db) as unknown as Record<string, (...args: unknown[]) => unknown>;
  return new Proxy({} as Ledger, {
    get:
      (_, method) =>
      async (...args: unknown[]) => {
        const step = () => handlers[String(method)]?.(now(), ...args);
        return commit ? db.transaction(step).immediate() : step();
      },
  });
}

test("random interleavings with crashes: nothing is charged twice, lost or made", async () => {
  const directory = mkdtempSync(join(tmpdir(), "farebox-ledger-"));
  const path = join(directory, "ledger.db");
  const clock = createClock();
  const open = () => {
    const opened = openDatabase(path, "local");
    // A process that ends needs no fsync; only a power cut does.
    opened.exec("PRAGMA synchronous = OFF");
    return opened;
  };
  let db = open();
  let ledger = ledgerOn(db, clock.now, true);
  onTestFinished(() => {
    db.close();
    rmSync(directory, { recursive: true });
  });
  let crashes = 0;
  const world = {
    ...clock,
    share: 1,
    get ledger() {
      return ledger;
    },
  };
  const met = await runMoneyModel(world, 120, async (step) => {
    // A step is written, and the process ends before its COMMIT.
    db.exec("BEGIN IMMEDIATE");
    await step(ledgerOn(db, clock.now, false));
    db.close();
    db = open();
    ledger = ledgerOn(db, clock.now, true);
    crashes += 1;
  });
  expect(met).toEqual([...OUTCOMES]);
  expect(crashes).toBeGreaterThan(50);
  expect(await ledger.checkAccounts()).toEqual([]);
  // Calls at once are counted by a sum, too.
  const running = `SELECT k.id FROM api_key k LEFT JOIN hold h ON h.key = k.id GROUP BY k.id HAVING k.running <> count(h.id)`;
  expect(db.prepare(running).all()).toEqual([]);
}, 120_000);
