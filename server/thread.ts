import process from "node:process";
import { Worker, type WorkerOptions } from "node:worker_threads";

/**
 * Starts a thread. The build's is JavaScript. In development and tests its source is loaded through tsx, which the thread must
 * register itself: `--import tsx` does nothing outside the main thread on Node 20.
 *
 * It takes over the flags that Node was started with, as threads do by themselves; but where the program was given as a text with its kind
 * (`--input-type=module -e`) none, because a thread of a file refuses that one.
 *
 * @param module its URL without the extension
 */
export function startThread(module: URL, options: WorkerOptions = {}): Worker {
  if (!import.meta.url.endsWith(".ts")) {
    const isText = process.execArgv.some((flag) => flag.startsWith("--input-type"));
    return new Worker(new URL(`${module.href}.js`), { ...options, ...(isText && { execArgv: [] }) });
  }
  const tsx = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const source = JSON.stringify(`${module.href}.ts`);
  const start = `import(${tsx}).then((tsx) => { tsx.register(); return import(${source}); });`;
  return new Worker(start, { ...options, eval: true });
}
