import { dirname } from "node:path";
import Database from "better-sqlite3";
import { makeDirectory } from "../data-directory.ts";
import { openLasting } from "./lasting-database.ts";
import { MIGRATIONS } from "./sqlite-migrations.ts";

/** "FARE" in ASCII: tells a ledger from any other SQLite file. */
const APPLICATION_ID = 0x46415245;
const SETTINGS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA foreign_keys = ON;
  PRAGMA cache_size = -32768;
  PRAGMA journal_size_limit = 67108864;
`;
/** How long a step waits for another process's transaction (a CLI on the same file), ms. */
const BUSY_TIMEOUT_MS = 2_000;

/**
 * Opens the ledger's database, makes it (and its directory) if there is none, and brings it to the newest schema.
 * WAL with `synchronous=NORMAL`: a commit survives a power cut once the log has been synced, which sqlite-log-sync.ts does.
 *
 * Throws Error, and leaves the file as it was, if it is not a ledger, was made by a newer version, or belongs to
 * another network: a ledger that holds faucet money must not serve mainnet.
 */
export function openDatabase(path: string, network: string): Database.Database {
  makeDirectory(dirname(path));
  const db = connect(path);
  try {
    db.transaction(() => migrate(db, path, network)).immediate();
    db.exec(SETTINGS);
    return db;
  } catch (error) {
    db.close();
    throw unusable(path, error);
  }
}

/** Of payments and holds: whoever worked on them is dead, and nobody need wait until the lease has run out. */
export function endLeases(db: Database.Database, now: number): void {
  for (const table of ["payment", "hold"]) {
    db.prepare<[number, number]>(`UPDATE ${table} SET lease_until = ? WHERE lease_until > ?`).run(now, now);
  }
}

function connect(path: string): Database.Database {
  try {
    return openLasting(path, { timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw unusable(path, error);
  }
}

const UNUSABLE = /^SQLITE_(?:NOTADB|CANTOPEN|READONLY|PERM|CORRUPT)/;

/** What a full disk gives, too. */
const UNWRITABLE = /^SQLITE_(?:FULL|IOERR)/;

/** Says which file it is and which setting names it, where the file is to blame. */
function unusable(path: string, error: unknown): unknown {
  if (error instanceof Database.SqliteError && UNWRITABLE.test(error.code)) {
    const why = `${error.code}: ${error.message}`;
    return new Error(`The ledger at ${path} cannot be written (${why}). Is its disk full?`, { cause: error });
  }
  if (!(error instanceof Database.SqliteError) || !UNUSABLE.test(error.code)) return error;
  const what =
    error.code === "SQLITE_NOTADB" ? "is no database" : `cannot be opened (${error.code}: ${error.message})`;
  return new Error(
    `The ledger at ${path} ${what}. Restore or move the file, or set FAREBOX_DATA_DIR to another directory.`,
    { cause: error },
  );
}

function migrate(db: Database.Database, path: string, network: string): void {
  const version = numberOf(db, "user_version");
  if (version === 0) {
    const tables = db.prepare<[], number>("SELECT count(*) FROM sqlite_schema").pluck().get();
    if (tables !== 0) throw new Error(`${path} is an SQLite database, but not a Farebox ledger.`);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  } else {
    if (numberOf(db, "application_id") !== APPLICATION_ID) {
      throw new Error(`${path} is an SQLite database, but not a Farebox ledger.`);
    }
    if (version > MIGRATIONS.length) {
      throw new Error(
        `The ledger at ${path} was made by a newer Farebox (schema ${version}, known ${MIGRATIONS.length}). Run that one, or restore a copy made before it.`,
      );
    }
    refuseOtherNetwork(db, path, network);
  }
  for (const migration of MIGRATIONS.slice(version)) db.exec(migration);
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
  db.prepare("INSERT INTO meta (key, value) VALUES ('network', ?) ON CONFLICT DO NOTHING").run(network);
}

function numberOf(db: Database.Database, pragma: string): number {
  return Number(db.prepare(`PRAGMA ${pragma}`).pluck().get());
}

function refuseOtherNetwork(db: Database.Database, path: string, network: string): void {
  const stamped = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'network'").pluck().get();
  if (stamped === network) return;
  throw new Error(
    `The ledger at ${path} was made for the network ${stamped} and refuses to serve ${network}. ` +
      "Use another data directory.",
  );
}
