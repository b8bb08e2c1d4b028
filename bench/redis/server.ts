import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { cpuOf, freePort } from "../child.ts";

/** A Redis as the ledger demands it: append-only file, fsync before each answer. */
export interface BenchRedis {
  readonly url: string;
  /** CPU time that it has used so far, ms. */
  readonly cpuMs: () => number;
  stop(): Promise<void>;
}

const START_LIMIT_MS = 10_000;

/** Starts `redis-server` of the PATH with an empty directory of its own. Rejects if there is none. */
export async function startBenchRedis(directory: string): Promise<BenchRedis> {
  const port = await freePort();
  const own = join(directory, `redis-${port}`);
  mkdirSync(own);
  const words = ["--port", String(port), "--bind", "127.0.0.1", "--dir", own, "--save", ""];
  const safe = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];
  const child = spawn("redis-server", [...words, ...safe], { stdio: "ignore" });
  const failed = once(child, "error").then(([error]) => {
    throw new Error("the benchmark of the Redis ledger needs redis-server on the PATH", { cause: error });
  });
  await Promise.race([failed, untilListening(port)]);
  const { pid } = child;
  if (pid === undefined) throw new Error("redis-server cannot be started");
  return { url: `redis://127.0.0.1:${port}`, cpuMs: () => cpuOf(pid), stop: () => stop(child) };
}

async function untilListening(port: number): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS;
  while (performance.now() < deadline) {
    const socket = createConnection({ port, host: "127.0.0.1" });
    const open = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (open) return;
    await wait(20);
  }
  throw new Error("redis-server does not listen");
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}
