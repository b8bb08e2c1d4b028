import Database from "better-sqlite3";

/** Of this thread. */
const lasting: object[] = [];

/**
 * Opens a file for SQLite. It and what is prepared on it live as long as the thread, also when it is closed: since Node 24.19 a process ends
 * with SIGABRT when an object of better-sqlite3 12 is garbage-collected while no JavaScript runs (`RemoveEnvironmentCleanupHook`; 13,
 * which is free of it, does not run on Node 20).
 *
 * So a statement is prepared once, not for each call, and a PRAGMA is read by `prepare` and set by `exec`: the driver's `pragma` makes a
 * statement that nobody can keep.
 */
export function openLasting(path: string, options?: Database.Options): Database.Database {
  const db = new Database(path, options);
  lasting.push(db);
  db.prepare = new Proxy(db.prepare, {
    apply(prepare, self, source) {
      const statement: object = Reflect.apply(prepare, self, source);
      lasting.push(statement);
      return statement;
    },
  });
  return db;
}
