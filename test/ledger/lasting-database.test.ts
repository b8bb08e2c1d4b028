import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { createHandlers } from "../../server/ledger/sqlite-handlers.ts";
import { openDatabase } from "../../server/ledger/sqlite-schema.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "farebox-lasting-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

async function collectGarbage(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  // What a WeakRef was made for lives until the end of the turn.
  await turn();
  collect();
  await turn();
  collect();
}

test("neither a closed database nor what was prepared on it is collected", async () => {
  const use = (db: Database.Database): WeakRef<object>[] => {
    const statement = db.prepare("SELECT 1");
    statement.get();
    db.close();
    return [new WeakRef(db), new WeakRef(statement)];
  };
  const path = join(directory, "some.db");
  const lasting = use(openLasting(path));
  const passing = use(new Database(path));
  await collectGarbage();
  expect(passing.map((ref) => ref.deref())).toEqual([undefined, undefined]);
  expect(lasting.map((ref) => ref.deref() !== undefined)).toEqual([true, true]);
});

test("a ledger that works prepares nothing: what lasts does not grow", () => {
  const pragma = vi.spyOn(Database.prototype, "pragma");
  const db = openDatabase(join(directory, "ledger.db"), "local");
  const prepare = vi.spyOn(db, "prepare");
  const handlers = createHandlers(db);
  const work = (): void => {
    handlers.createAccount(1, "acct_1", "one");
    handlers.creditAccount(1, "acct_1", 5n, "paid");
    for (const account of [undefined, "acct_1"]) {
      for (const keyId of [undefined, "key_1"]) {
        for (const model of [undefined, "echo"]) {
          handlers.usage(1, { account, keyId, model, limit: 10 });
        }
      }
    }
    handlers.accounts(1);
    handlers.account(1, "acct_1");
    handlers.journal(1, "acct_1");
    handlers.journalPage(1, "acct_1", undefined, 10);
    handlers.keys(1, "acct_1");
    handlers.keys(1, undefined);
    handlers.checkAccounts(1);
    handlers.sweepHolds(1);
    handlers.sweepResponses(1);
    handlers.ping(1);
  };
  work();
  const first = prepare.mock.calls.length;
  expect(first).toBeGreaterThan(100);
  work();
  expect(prepare.mock.calls.length).toBe(first);
  // It makes statements that nobody can keep.
  expect(pragma).not.toHaveBeenCalled();
  db.close();
});
