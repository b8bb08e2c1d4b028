import { Worker, type WorkerOptions } from "node:worker_threads";

/**
 * Starts a thread. The build's is JavaScript. In development and tests its source is loaded through tsx, which the thread must
 * register itself: `--import tsx` does nothing outside the main thread on Node 20.
 *
 * @param module its URL without the extension
 */
export function startThread(module: URL, options: WorkerOptions = {}): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(`${module.href}.js`), options);
  const tsx = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const source = JSON.stringify(`${module.href}.ts`);
  const start = `import(${tsx}).then((tsx) => { tsx.register(); return import(${source}); });`;
  return new Worker(start, { ...options, eval: true });
}
