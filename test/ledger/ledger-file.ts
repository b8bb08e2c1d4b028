import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger, type SqliteLedgerOptions } from "../../server/ledger/sqlite.ts";

/** A database file for each test, in a directory that does not exist before its ledger is opened. */
export interface LedgerFile {
  path: string;
  directory: string;
  /** What the ledgers' `onFatal` heard. */
  fatal: Error[];
  /** Opens a ledger on the file; the end of the test closes it. */
  open(network?: string): Promise<Ledger>;
  /** The same, on a clock of the test's. */
  openAt(clock: () => number): Promise<Ledger>;
  /** The one value that a query finds in the file. */
  read(sql: string): unknown;
  /** Does something to the file as another process would. */
  meddle(sql: string): void;
}

export function useLedgerFile(): LedgerFile {
  let opened: Ledger[] = [];
  const onFatal = (error: Error) => file.fatal.push(error);
  const open = async (options: SqliteLedgerOptions) => {
    const ledger = await openSqliteLedger(options);
    opened.push(ledger);
    return ledger;
  };
  const file: LedgerFile = {
    path: "",
    directory: "",
    fatal: [],
    open: (network = "local") => open({ path: file.path, network, onFatal }),
    openAt: (clock) => open({ path: file.path, network: "local", clock, onFatal }),
    read(sql) {
      const db = openLasting(file.path, { readonly: true });
      const value = db.prepare(sql).pluck().get();
      db.close();
      return value;
    },
    meddle(sql) {
      const db = openLasting(file.path);
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
