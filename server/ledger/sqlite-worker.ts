import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { createBatchRunner } from "./sqlite-batches.ts";
import { createLogSync } from "./sqlite-log-sync.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./sqlite-messages.ts";
import { announce, type Presence } from "./sqlite-presence.ts";
import { endLeases, openDatabase } from "./sqlite-schema.ts";

function serve(port: MessagePort, options: WorkerOptions): void {
  const post = (message: FromWorker) => port.postMessage(message);
  let db: Database.Database;
  let presence: Presence | undefined;
  try {
    db = openDatabase(options.path, options.network);
    if (options.serving) presence = announce(`${options.path}-gateways`, () => endLeases(db, Date.now()));
  } catch (error) {
    post({ kind: "refused", message: error instanceof Error ? error.message : String(error) });
    port.close();
    return;
  }
  const stop = (): void => {
    port.close();
    sync.close();
    db.close();
    presence?.close();
  };
  const sync = createLogSync({ log: `${options.path}-wal`, post, onFailure: stop });
  const runBatch = createBatchRunner({ db, post, sync });
  port.on("message", (message: ToWorker) => {
    if (message.kind === "close" || !runBatch(message.calls, message.times)) stop();
  });
  post({ kind: "opened", alone: presence?.alone ?? true });
}

if (parentPort === null) throw new Error("The SQLite ledger's worker must be started as a worker thread.");
serve(parentPort, workerData);
