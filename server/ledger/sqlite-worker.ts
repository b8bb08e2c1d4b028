import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { createBatchRunner } from "./sqlite-batches.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./sqlite-messages.ts";
import { openDatabase } from "./sqlite-schema.ts";

/** What nobody waits for is committed after so many ms at the latest. */
const COMMIT_AFTER_MS = 2;

function serve(port: MessagePort, options: WorkerOptions): void {
  const post = (message: FromWorker) => port.postMessage(message);
  let db: Database.Database;
  try {
    db = openDatabase(options.path, options.network);
  } catch (error) {
    post({ kind: "refused", message: error instanceof Error ? error.message : String(error) });
    port.close();
    return;
  }
  const batches = createBatchRunner(db, post);
  let commitSoon: NodeJS.Timeout | undefined;
  const stop = (): void => {
    clearTimeout(commitSoon);
    port.close();
    db.close();
  };
  port.on("message", (message: ToWorker) => {
    if (message.kind === "close") {
      batches.commit();
      stop();
      return;
    }
    const outcome = batches.run(message.calls, message.times);
    if (outcome === "lost") stop();
    if (outcome === "open") {
      commitSoon ??= setTimeout(() => {
        commitSoon = undefined;
        if (!batches.commit()) stop();
      }, COMMIT_AFTER_MS);
    }
  });
  post({ kind: "opened" });
}

if (parentPort === null) throw new Error("The SQLite ledger's worker must be started as a worker thread.");
serve(parentPort, workerData);
