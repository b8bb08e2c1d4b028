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
  tellsOfOthers,
} from "./sqlite-messages.ts";

interface Answers {
  /** What is told as soon as it is committed. */
  readonly early: Answer[];
  /** What is told once the log is synced: what must be durable, and what tells of something that is not yet. */
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
      return answerAll(calls, times, together, sync.isIdle());
    } catch (error) {
      // Without a transaction SQLite has rolled back the whole batch (full disk, I/O error), not this call alone.
      if (!db.inTransaction) throw error;
    }
    undoAll.run();
    start.run();
    return answerAll(calls, times, alone, sync.isIdle());
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

/** `isSynced`: there is nothing in the log that a power cut could undo. */
function answerAll(
  calls: readonly Call[],
  times: readonly number[],
  carryOut: CarryOut,
  isSynced: boolean,
): Answers {
  const early: Answer[] = [];
  const late: Answer[] = [];
  const othersLast = isSynced && !calls.some(isDurable);
  calls.forEach((call, index) => {
    const answer = carryOut(call, index, times[index] ?? Date.now());
    const waits = isDurable(call) || (!othersLast && answer[1] === "value" && tellsOfOthers(call, answer[2]));
    (waits ? late : early).push(answer);
  });
  return { early, late };
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
