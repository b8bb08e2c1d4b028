import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { createHandlers } from "./sqlite-handlers.ts";
import {
  type Answer,
  type Call,
  type FromWorker,
  type Handlers,
  isDurable,
  isRead,
  type Method,
  type Results,
  type ToWorker,
  type WorkerOptions,
} from "./sqlite-messages.ts";
import { openDatabase } from "./sqlite-schema.ts";

/** Carries out one call. The type parameter ties the method to its arguments and its result. */
function run<M extends Method>(handlers: Handlers, call: Call<M>, now: number): Results[M] {
  return handlers[call.method](now, ...call.args);
}

/** One transaction for each batch, one savepoint for each call of it: a failing call undoes itself alone. */
function createBatchRunner(db: Database.Database, post: (message: FromWorker) => void) {
  const handlers = createHandlers(db);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const beginRead = db.prepare("BEGIN");
  const commit = db.prepare("COMMIT");
  const mark = db.prepare("SAVEPOINT change");
  const keep = db.prepare("RELEASE change");
  const undo = db.prepare("ROLLBACK TO change");
  const setSynchronous = createSynchronous(db);

  function answer(call: Call, index: number, now: number): Answer {
    mark.run();
    try {
      const value = run(handlers, call, now);
      keep.run();
      return [index, "value", value];
    } catch (error) {
      // Without a transaction SQLite has rolled back the whole batch (full disk, I/O error), not this call alone.
      if (!db.inTransaction) throw error;
      undo.run();
      keep.run();
      return [index, "fault", describe(error)];
    }
  }

  /** Returns false when what is stored is no longer known. */
  return (calls: readonly Call[], times: readonly number[]): boolean => {
    const early: Answer[] = [];
    const late: Answer[] = [];
    try {
      setSynchronous(calls.some(isDurable));
      // A long read (a check of every account, by the CLI) must keep no other process from writing.
      (calls.every(isRead) ? beginRead : begin).run();
      calls.forEach((call, index) => {
        (isDurable(call) ? late : early).push(answer(call, index, times[index] ?? Date.now()));
      });
    } catch (error) {
      if (db.inTransaction) db.exec("ROLLBACK");
      post({ kind: "failed", message: describe(error), fatal: false });
      return true;
    }
    if (early.length > 0) post({ kind: "early", answers: early });
    try {
      commit.run();
    } catch (error) {
      post({ kind: "failed", message: describe(error), fatal: true });
      return false;
    }
    post({ kind: "committed", answers: late });
    return true;
  };
}

/**
 * A batch without a durable call commits without an fsync. Nothing is weakened by that: the log is written in order, so
 * the fsync of the next durable commit covers what came before it.
 */
function createSynchronous(db: Database.Database): (full: boolean) => void {
  let current = true;
  return (full) => {
    if (full === current) return;
    db.pragma(`synchronous = ${full ? "FULL" : "NORMAL"}`);
    current = full;
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function serve(port: MessagePort, options: WorkerOptions): void {
  const post = (message: FromWorker) => port.postMessage(message);
  let db: Database.Database;
  try {
    db = openDatabase(options.path, options.network);
  } catch (error) {
    post({ kind: "refused", message: describe(error) });
    port.close();
    return;
  }
  const runBatch = createBatchRunner(db, post);
  port.on("message", (message: ToWorker) => {
    if (message.kind === "batch" && runBatch(message.calls, message.times)) return;
    port.close();
    db.close();
  });
  post({ kind: "opened" });
}

if (parentPort === null) throw new Error("The SQLite ledger's worker must be started as a worker thread.");
serve(parentPort, workerData);
