import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { pathOf } from "./lane.ts";

export const CONNECTIONS = 32;
const AUTOCANNON = pathOf("node_modules/autocannon/autocannon.js");
const PAID_SCRIPT = pathOf("paid.lua");
/** No measurement takes as long. */
const PAID_LIMIT_SECONDS = 120;
const run = promisify(execFile);

/** What a loader saw. */
export interface Load {
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** `wrk` if it is on the PATH, else autocannon. */
export function findLoader(): "wrk" | "autocannon" {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  return directories.some((directory) => isExecutable(join(directory, "wrk"))) ? "wrk" : "autocannon";
}

/** Loads a URL from 32 connections; every answer must have the status 402. */
export async function loadUnpaid(url: string, seconds: number): Promise<Load> {
  return findLoader() === "wrk" ? wrk(url, seconds) : autocannon(url, seconds);
}

async function wrk(url: string, seconds: number): Promise<Load> {
  const seen = await runWrk(["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, url]);
  if (seen.refused !== seen.total) throw new Error(`not every answer was a 402:\n${seen.output}`);
  return seen;
}

/** What wrk saw; `refused` answers had a status from 400 on. */
export interface WrkResult extends Load {
  readonly total: number;
  readonly refused: number;
  readonly output: string;
}

/** Runs wrk with these words; rejects if a connection failed. */
export async function runWrk(words: readonly string[]): Promise<WrkResult> {
  const { stdout: output } = await run("wrk", ["--latency", ...words]);
  if (/Socket errors/.test(output)) throw new Error(`connections failed:\n${output}`);
  const read = (pattern: RegExp) => pattern.exec(output)?.[1];
  return {
    perSecond: Number(read(/Requests\/sec:\s+([\d.]+)/)),
    p99Ms: p99Of(output),
    total: Number(read(/(\d+) requests in/)),
    refused: Number(read(/Non-2xx or 3xx responses: (\d+)/) ?? 0),
    output,
  };
}

function p99Of(output: string): number {
  const latency = /99%\s+([\d.]+)(us|ms|s)/.exec(output);
  const scale = { us: 0.001, ms: 1, s: 1_000 }[latency?.[2] ?? "ms"] ?? 1;
  return Number(latency?.[1]) * scale;
}

async function autocannon(url: string, seconds: number): Promise<Load> {
  const words = [AUTOCANNON, "-c", String(CONNECTIONS), "-d", String(seconds), "--json", url];
  const { stdout } = await run(process.execPath, words);
  const result = JSON.parse(stdout);
  if (result["4xx"] !== result.requests.total || result.errors > 0) {
    throw new Error("not every answer was a 402");
  }
  return { perSecond: result.requests.average, p99Ms: result.latency.p99 };
}

/** Sends each payment once, from 32 connections; every answer must be 200. */
export async function loadPaid(url: string, payments: readonly string[]): Promise<Load> {
  return findLoader() === "wrk" ? payByWrk(url, payments) : payByNode(url, payments);
}

/** Sends them from a file (paid.lua). wrk does not end by itself: it is interrupted once it says that all were answered. */
async function payByWrk(url: string, payments: readonly string[]): Promise<Load> {
  const directory = mkdtempSync(join(tmpdir(), "farebox-payments-"));
  const file = join(directory, "payments");
  writeFileSync(file, payments.join("\n"));
  const words = ["-t1", `-c${CONNECTIONS}`, `-d${PAID_LIMIT_SECONDS}s`, "--latency", "-s", PAID_SCRIPT, url];
  const loader = spawn("wrk", words, { env: { ...process.env, PAYMENTS: file } });
  let output = "";
  let said = "";
  loader.stdout.on("data", (text) => {
    output += text;
  });
  loader.stderr.on("data", (text) => {
    said += text;
    if (said.endsWith("\n")) loader.kill("SIGINT");
  });
  await once(loader, "close");
  rmSync(directory, { recursive: true });
  const seconds = Number(/^seconds ([\d.]+)$/m.exec(said)?.[1]);
  if (!(seconds > 0)) throw new Error(`not every payment was answered with 200: ${said}${output}`);
  return { perSecond: payments.length / seconds, p99Ms: p99Of(output) };
}

/** wrk, or where there is none Node: autocannon cannot send another header with each request and stop after the last. */
async function payByNode(url: string, payments: readonly string[]): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const latencies: number[] = [];
  let next = 0;
  const send = async () => {
    for (let payment = payments[next++]; payment !== undefined; payment = payments[next++]) {
      const sent = performance.now();
      const status = await pay(url, payment, agent);
      if (status !== 200) throw new Error(`a payment was answered with ${status}`);
      latencies.push(performance.now() - sent);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONNECTIONS }, send));
  const elapsedMs = performance.now() - started;
  agent.destroy();
  latencies.sort((one, other) => one - other);
  const p99Ms = latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN;
  return { perSecond: (payments.length / elapsedMs) * 1_000, p99Ms };
}

function pay(url: string, payment: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { agent, headers: { "payment-signature": payment } }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
      response.on("error", reject);
    }).on("error", reject);
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
