import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 10_000;

/** What a server under test is started with: node's arguments and environment. It listens on PORT. */
export interface Command {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; the server's output goes to `<name>.log` in it. */
  readonly directory: string;
}

/** A server in its own process. */
export interface Child {
  readonly url: string;
  readonly pid: number;
  /** From spawning to the first answer that `isReady` accepted, ms. */
  readonly startMs: number;
  /** Resident memory now, bytes. */
  readonly rssBytes: () => number;
  /** CPU time that all its threads have used so far, ms. */
  readonly cpuMs: () => number;
  readonly signal: (name: NodeJS.Signals) => void;
  /** SIGTERM, then SIGKILL after ten seconds. */
  readonly stop: () => Promise<void>;
}

/** Starts a server on a free loopback port and waits until `GET probe` is answered with the status. */
export async function startChild(command: Command, probe: { path: string; status: number }): Promise<Child> {
  const port = await freePort();
  const log = join(command.directory, `${command.name}.log`);
  const output = openSync(log, "a");
  const started = performance.now();
  const child = spawn(process.execPath, command.args, {
    cwd: command.directory,
    env: { PATH: process.env["PATH"], NODE_ENV: "production", ...command.env, PORT: String(port) },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const exited = once(child, "exit");
  const url = `http://127.0.0.1:${port}`;
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command.name} cannot be started`);
  try {
    await untilReady(child, url + probe.path, probe.status);
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${command.name}: ${readFileSync(log, "utf8").slice(-2_000)}`, { cause: error });
  }
  return {
    url,
    pid,
    startMs: performance.now() - started,
    rssBytes: () => rssOf(pid),
    cpuMs: () => cpuOf(pid),
    signal: (name) => void child.kill(name),
    stop: () => stop(child, exited),
  };
}

async function untilReady(child: ChildProcess, url: string, status: number): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`exited with ${child.exitCode}`);
    if ((await statusOf(url)) === status) return;
    await wait(2);
  }
  throw new Error(`no ${status} within ${START_LIMIT_MS} ms`);
}

async function statusOf(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(url, { headers: { connection: "close" } });
    await response.body?.cancel();
    return response.status;
  } catch {
    return undefined;
  }
}

async function stop(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  await exited;
  clearTimeout(timer);
}

/** Linux counts in hundredths of a second. */
const TICK_MS = 10;

/** CPU time of a process, user and system, ms. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the name in parentheses, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

function rssOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error("the resident memory cannot be read");
  return Number(kib) * 1024;
}
