import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";

/** A database file for each test, in a directory that does not exist before its ledger is opened. */
export interface LedgerFile {
  path: string;
  directory: string;
  /** What the ledgers' `onFatal` heard. */
  fatal: Error[];
  /** Opens a ledger on the file; the end of the test closes it. */
  open(network?: string): Promise<Ledger>;
  /** Does something to the file as another process would. */
  meddle(sql: string): void;
}

export function useLedgerFile(): LedgerFile {
  let opened: Ledger[] = [];
  const file: LedgerFile = {
    path: "",
    directory: "",
    fatal: [],
    async open(network = "local") {
      const onFatal = (error: Error) => file.fatal.push(error);
      const ledger = await openSqliteLedger({ path: file.path, network, onFatal });
      opened.push(ledger);
      return ledger;
    },
    meddle(sql) {
      const db = new Database(file.path);
      db.exec(sql);
      db.close();
    },
  };
  beforeEach(() => {
    file.directory = mkdtempSync(join(tmpdir(), "farebox-ledger-"));
    file.path = join(file.directory, "data", "ledger.db");
    file.fatal = [];
    opened = [];
  });
  afterEach(async () => {
    await Promise.all(opened.map((ledger) => ledger.close()));
    rmSync(file.directory, { recursive: true });
  });
  return file;
}
