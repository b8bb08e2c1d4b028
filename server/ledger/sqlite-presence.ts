import Database from "better-sqlite3";
import { openLasting } from "./lasting-database.ts";

/** How long the beginning of another gateway on this file is waited for, ms. */
const BUSY_TIMEOUT_MS = 2_000;

export interface Presence {
  /** Nobody else served from the ledger when this began. */
  readonly alone: boolean;
  /** Ends by itself with the process, however that ends. */
  close(): void;
}

/**
 * Says that this process serves from a ledger, and whether another does. By SQLite's own locks on a file beside it, in which nothing is: shared
 * while a gateway lives, exclusive for the moment in which one begins, and given back by the operating system when it is killed.
 * `begin` is run in that moment, if there is nobody else: whatever a lease says then, its holder is dead.
 */
export function announce(path: string, begin: () => void): Presence {
  const db = openLasting(path, { timeout: 0 });
  try {
    const alone = tryExclusively(db, begin);
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    db.exec("BEGIN");
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    return { alone, close: () => void db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

function tryExclusively(db: Database.Database, run: () => void): boolean {
  try {
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY")) return false;
    throw error;
  }
  run();
  db.exec("COMMIT");
  return true;
}
