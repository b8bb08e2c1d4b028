import type Database from "better-sqlite3";
import { createHandlers } from "./sqlite-handlers.ts";
import type { LogSync } from "./sqlite-log-sync.ts";
import {
  type Answer,
  type Call,
  type FromWorker,
  type Handlers,
  isDurable,
  isRead,
  type Method,
  type Results,
} from "./sqlite-messages.ts";

interface Answers {
  /** To calls that need not be durable: they hear of it once it is committed. */
  readonly early: Answer[];
  /** To those that must be: they hear of it once the log is synced. */
  readonly late: Answer[];
}

type CarryOut = (call: Call, index: number, now: number) => Answer;

/** Applies one batch in one transaction and posts its answers. False: what is stored is no longer known. */
export type BatchRunner = (calls: readonly Call[], times: readonly number[]) => boolean;

export interface BatchParts {
  readonly db: Database.Database;
  readonly post: (message: FromWorker) => void;
  readonly sync: LogSync;
}

/**
 * A call that fails must undo itself alone. Since hardly any does, a batch runs without savepoints first (each costs as much as
 * the call): if one fails, nothing was answered yet, and the whole batch is undone and runs again, each call in a savepoint.
 */
export function createBatchRunner({ db, post, sync }: BatchParts): BatchRunner {
  const handlers = createHandlers(db);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const beginRead = db.prepare("BEGIN");
  const commit = db.prepare("COMMIT");
  const undoAll = db.prepare("ROLLBACK");
  const alone = createSavepoints(db, handlers);
  const together: CarryOut = (call, index, now) => [index, "value", run(handlers, call, now)];

  /** Throws, outside a transaction or in one that must be undone, if nothing of the batch can be kept. */
  function apply(calls: readonly Call[], times: readonly number[]): Answers {
    // A long read (a check of every account, by the CLI) must keep no other process from writing.
    const start = calls.every(isRead) ? beginRead : begin;
    start.run();
    try {
      return answerAll(calls, times, together);
    } catch (error) {
      // Without a transaction SQLite has rolled back the whole batch (full disk, I/O error), not this call alone.
      if (!db.inTransaction) throw error;
    }
    undoAll.run();
    start.run();
    return answerAll(calls, times, alone);
  }

  return (calls, times) => {
    let answers: Answers;
    try {
      answers = apply(calls, times);
    } catch (error) {
      if (db.inTransaction) undoAll.run();
      post({ kind: "failed", message: describe(error), fatal: false });
      return true;
    }
    try {
      commit.run();
    } catch (error) {
      post({ kind: "failed", message: describe(error), fatal: true });
      return false;
    }
    post({ kind: "committed", answers: answers.early });
    if (answers.late.length > 0) sync.cover(answers.late);
    return true;
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

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
