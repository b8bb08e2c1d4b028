import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "../child.ts";
import { ASSET, BLOCKHASH, FEE_PAYER, NETWORK_ID, pathOf } from "../lane.ts";
import type { KeyedLane, KeyedServer } from "./lane.ts";

export interface KeyedRunOptions {
  /** Streams of 10 s with 5 chunks a second, not of 1 s with 50. */
  readonly slowStream?: boolean;
  readonly preload?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The stubs around the lanes, in their own processes, and a directory that is removed at the end. */
export interface KeyedGround {
  readonly directory: string;
  /** Starts a lane afresh (empty directory, new account), measures, stops it. */
  run<T>(
    lane: KeyedLane,
    measure: (server: KeyedServer) => Promise<T>,
    options?: KeyedRunOptions,
  ): Promise<T>;
  close(): Promise<void>;
}

interface Stubs {
  readonly facilitatorUrl: string;
  readonly rpcUrl: string;
  readonly upstreamUrl: string;
  readonly slowUpstreamUrl: string;
}

/** Starts the stubs. */
export async function prepareKeyedGround(): Promise<KeyedGround> {
  const directory = mkdtempSync(join(tmpdir(), "farebox-bench-keyed-"));
  const started: Child[] = [];
  const close = async () => {
    await Promise.all(started.map((child) => child.stop()));
    rmSync(directory, { recursive: true });
  };
  try {
    return { directory, run: createRun(directory, await startStubs(directory, started)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startStubs(directory: string, started: Child[]): Promise<Stubs> {
  const stub = async (name: string, file: string, env: Record<string, string>, path: string) => {
    const args = [pathOf(`stubs/${file}`)];
    const child = await startChild({ name, args, env, directory }, { path, status: 200 });
    started.push(child);
    return child.url;
  };
  const slow = { CHUNKS: "50", CHUNK_EVERY_MS: "200" };
  return {
    facilitatorUrl: await stub("facilitator", "facilitator.mjs", { NETWORK_ID, FEE_PAYER }, "/supported"),
    rpcUrl: await stub("rpc", "rpc.mjs", { ASSET, BLOCKHASH }, "/"),
    upstreamUrl: await stub("upstream", "chat-upstream.mjs", {}, "/"),
    slowUpstreamUrl: await stub("slow-upstream", "chat-upstream.mjs", slow, "/"),
  };
}

function createRun(directory: string, { slowUpstreamUrl, ...stubs }: Stubs): KeyedGround["run"] {
  let runs = 0;
  return async (lane, measure, { slowStream = false, preload, env = {} } = {}) => {
    runs += 1;
    const own = join(directory, `${runs}-${lane.name}`);
    mkdirSync(own);
    const around = slowStream ? { ...stubs, upstreamUrl: slowUpstreamUrl } : stubs;
    const { command, headers } = await lane.prepare(own, around);
    const args = preload === undefined ? command.args : ["--import", preload, ...command.args];
    const probe = { path: lane.probePath, status: 200 };
    const child = await startChild({ ...command, args, env: { ...command.env, ...env } }, probe);
    try {
      return await measure({ ...child, headers });
    } finally {
      await child.stop();
    }
  };
}
