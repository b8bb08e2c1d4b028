import { closeSync, fdatasync, openSync } from "node:fs";
import type { Answer, FromWorker } from "./sqlite-messages.ts";

/** Makes durable what is committed, beside the batches that follow. */
export interface LogSync {
  /** Posts these answers as soon as everything that is committed by now survives a power cut. */
  cover(answers: readonly Answer[]): void;
  /** Everything that had to be durable is. */
  isIdle(): boolean;
  /** At the end: lets go of the log. A sync that is under way keeps it until the thread ends. */
  close(): void;
}

export interface LogSyncParts {
  /** SQLite's write-ahead log. It is there after the first commit, and stays as long as the database is open. */
  readonly log: string;
  readonly post: (message: FromWorker) => void;
  /** The log could not be synced, and `failed` was posted: nothing more may be carried out. */
  readonly onFailure: () => void;
}

/**
 * `synchronous=FULL` is one sync of the log after each commit, for which SQLite's thread waits (https://sqlite.org/pragma.html, "synchronous").
 * Here a commit only writes (`NORMAL`), and that sync is ours: it runs while the next batches are carried out, one at a time, each for
 * all that was committed before it began. So whoever does not need it never waits for a disk.
 */
export function createLogSync({ log, post, onFailure }: LogSyncParts): LogSync {
  let file: number | undefined;
  /** Stays so once a sync has failed: what it was to write may be lost, and another would not say so. */
  let isBusy = false;
  let waiting: (readonly Answer[])[] = [];

  function begin(): void {
    const covered = waiting;
    waiting = [];
    isBusy = true;
    const ended = (error: Error | null): void => {
      if (error !== null) {
        post({ kind: "failed", message: error.message, fatal: true });
        onFailure();
        return;
      }
      isBusy = false;
      post({ kind: "synced", answers: covered });
      if (waiting.length > 0) begin();
    };
    try {
      file ??= openSync(log, "r+");
      fdatasync(file, ended);
    } catch (error) {
      ended(error instanceof Error ? error : new Error(String(error)));
    }
  }

  return {
    cover(answers) {
      waiting.push(answers);
      if (!isBusy) begin();
    },
    isIdle: () => !isBusy,
    close() {
      if (file !== undefined && !isBusy) closeSync(file);
    },
  };
}
