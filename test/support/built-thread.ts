import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, type WorkerOptions } from "node:worker_threads";
import { inject } from "vitest";

const SERVER = fileURLToPath(new URL("../../server", import.meta.url));

/** In the place of `server/thread.ts`: starts the build's thread, in a quarter of the time that its source takes through tsx. */
export function startThread(module: URL, options: WorkerOptions = {}): Worker {
  const path = relative(SERVER, fileURLToPath(module));
  return new Worker(join(dirname(inject("main")), `${path}.js`), options);
}
