import type Database from "better-sqlite3";
import { createHandlers } from "./sqlite-handlers.ts";
import {
  type Answer,
  type Call,
  type FromWorker,
  type Handlers,
  isDurable,
  isRead,
  isUrgent,
  type Method,
  type Results,
} from "./sqlite-messages.ts";

interface Answers {
  /** To calls that need not be durable: they hear of it before COMMIT. */
  readonly early: Answer[];
  readonly late: Answer[];
}

type CarryOut = (call: Call, index: number, now: number) => Answer;

/** What became of a batch. `open`: it is applied, and its COMMIT may wait. `lost`: what is stored is no longer known. */
export type Outcome = "ended" | "open" | "lost";

export interface BatchRunner {
  /** Applies one batch in one transaction, which may hold earlier ones, and posts its answers. */
  run(calls: readonly Call[], times: readonly number[]): Outcome;
  /** Commits what is still open, if anything is. False: what is stored is no longer known. */
  commit(): boolean;
}

/**
 * A call that fails must undo itself alone. Since hardly any does, a batch runs without savepoints first (each costs as much as
 * the call): if one fails, nothing was answered yet, and the whole batch is undone and runs again, each call in a savepoint.
 *
 * Durable calls that nobody waits for stay in an open transaction, so that what comes behind them does not wait for their fsync: the
 * next COMMIT is theirs, too. Everybody on this connection sees them at once; other processes wait for the COMMIT, or do not see
 * them yet.
 */
export function createBatchRunner(db: Database.Database, post: (message: FromWorker) => void): BatchRunner {
  const handlers = createHandlers(db);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const beginRead = db.prepare("BEGIN");
  const commit = db.prepare("COMMIT");
  const undoAll = db.prepare("ROLLBACK");
  const mark = db.prepare("SAVEPOINT batch");
  const keep = db.prepare("RELEASE batch");
  const undo = db.prepare("ROLLBACK TO batch");
  const setSynchronous = createSynchronous(db);
  const alone = createSavepoints(db, handlers);
  const together: CarryOut = (call, index, now) => [index, "value", run(handlers, call, now)];
  /** The answers of batches that are applied and not committed: one list for each batch. */
  let uncommitted: (readonly Answer[])[] = [];

  /** In a transaction of its own, or in the one that is open. Throws if nothing of the batch can be kept. */
  function apply(calls: readonly Call[], times: readonly number[]): Answers {
    const joins = db.inTransaction;
    // A long read (a check of every account, by the CLI) must keep no other process from writing.
    const start = joins ? mark : calls.every(isRead) ? beginRead : begin;
    start.run();
    let answers: Answers;
    try {
      answers = answerAll(calls, times, together);
    } catch (error) {
      // Without a transaction SQLite has rolled back everything (full disk, I/O error), not this call alone.
      if (!db.inTransaction) throw error;
      (joins ? undo : undoAll).run();
      if (!joins) start.run();
      answers = answerAll(calls, times, alone);
    }
    if (joins) keep.run();
    return answers;
  }

  function commitAll(ends: boolean): boolean {
    try {
      commit.run();
    } catch (error) {
      post({ kind: "failed", message: describe(error), fatal: true });
      return false;
    }
    post({ kind: "committed", answers: uncommitted, ends });
    uncommitted = [];
    return true;
  }

  function runBatch(calls: readonly Call[], times: readonly number[]): Outcome {
    let answers: Answers;
    try {
      if (!db.inTransaction) setSynchronous(calls.some(isDurable));
      answers = apply(calls, times);
    } catch (error) {
      // Earlier batches were answered in part, and may be gone with the transaction.
      const fatal = uncommitted.length > 0;
      if (!fatal && db.inTransaction) undoAll.run();
      post({ kind: "failed", message: describe(error), fatal });
      return fatal ? "lost" : "ended";
    }
    const waits = uncommitted.length > 0 || answers.late.length > 0;
    uncommitted.push(answers.late);
    if (waits && !calls.some(isUrgent)) {
      post({ kind: "applied", answers: answers.early });
      return "open";
    }
    if (answers.early.length > 0) post({ kind: "early", answers: answers.early });
    return commitAll(true) ? "ended" : "lost";
  }

  return {
    run: (calls, times) =>
      // What is open belongs to writers: a read, which may be long, does not keep it from them.
      uncommitted.length > 0 && calls.every(isRead) && !commitAll(false) ? "lost" : runBatch(calls, times),
    commit: () => uncommitted.length === 0 || commitAll(false),
  };
}

function answerAll(calls: readonly Call[], times: readonly number[], carryOut: CarryOut): Answers {
  const answers: Answers = { early: [], late: [] };
  calls.forEach((call, index) => {
    const { early, late } = answers;
    (isDurable(call) ? late : early).push(carryOut(call, index, times[index] ?? Date.now()));
  });
  return answers;
}

/** Carries out one call, which undoes itself alone if it fails. */
function createSavepoints(db: Database.Database, handlers: Handlers): CarryOut {
  const mark = db.prepare("SAVEPOINT change");
  const keep = db.prepare("RELEASE change");
  const undo = db.prepare("ROLLBACK TO change");
  return (call, index, now) => {
    mark.run();
    try {
      const value = run(handlers, call, now);
      keep.run();
      return [index, "value", value];
    } catch (error) {
      if (!db.inTransaction) throw error;
      undo.run();
      keep.run();
      return [index, "fault", describe(error)];
    }
  };
}

/** The type parameter ties the method to its arguments and its result. */
function run<M extends Method>(handlers: Handlers, call: Call<M>, now: number): Results[M] {
  return handlers[call.method](now, ...call.args);
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
