import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "./child.ts";
import { ASSET, BLOCKHASH, FEE_PAYER, type Lane, NETWORK_ID, pathOf, type Surroundings } from "./lane.ts";
import { createPayments, type SignPayments } from "./payments.ts";

/** What every probe and every throughput measurement asks for. */
export const PRICED_PATH = "/report";

export interface RunOptions {
  /** The facilitator takes 10 ms to settle, not none. */
  readonly slowSettle?: boolean;
  readonly preload?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The stubs around the servers under test, in their own processes, and a directory that is removed at the end. */
export interface Ground {
  readonly sign: SignPayments;
  readonly upstreamUrl: string;
  readonly directory: string;
  /** Starts a lane afresh (empty directory, empty ledger), measures, stops it. */
  run<T>(lane: Lane, measure: (server: Child) => Promise<T>, options?: RunOptions): Promise<T>;
  close(): Promise<void>;
}

/** Starts the stubs; `reference` is the lane whose 402 the bare servers send. */
export async function prepareGround(reference: Lane): Promise<Ground> {
  const directory = mkdtempSync(join(tmpdir(), "farebox-bench-"));
  const stubs: Child[] = [];
  const close = async () => {
    await Promise.all(stubs.map((child) => child.stop()));
    rmSync(directory, { recursive: true });
  };
  try {
    const around = await startStubs(directory, stubs);
    const run = createRun(directory, around);
    await run(reference, (server) => keepChallenge(server.url + PRICED_PATH, around.challengeFile));
    const sign = await createPayments(around.rpcUrl);
    return { sign, upstreamUrl: around.upstreamUrl, directory, run, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Stubs extends Surroundings {
  /** A facilitator that takes 10 ms to settle. */
  readonly slowFacilitatorUrl: string;
}

async function startStubs(directory: string, started: Child[]): Promise<Stubs> {
  const stub = async (name: string, file: string, env: Record<string, string>, path: string) => {
    const args = [pathOf(`stubs/${file}`)];
    const child = await startChild({ name, args, env, directory }, { path, status: 200 });
    started.push(child);
    return child.url;
  };
  const fast = { NETWORK_ID, FEE_PAYER };
  const slow = { ...fast, SETTLE_MS: "10" };
  return {
    facilitatorUrl: await stub("facilitator", "facilitator.mjs", fast, "/supported"),
    slowFacilitatorUrl: await stub("slow-facilitator", "facilitator.mjs", slow, "/supported"),
    rpcUrl: await stub("rpc", "rpc.mjs", { ASSET, BLOCKHASH }, "/"),
    upstreamUrl: await stub("upstream", "upstream.mjs", {}, PRICED_PATH),
    challengeFile: join(directory, "challenge.json"),
  };
}

function createRun(directory: string, around: Stubs): Ground["run"] {
  let runs = 0;
  return async (lane, measure, options = {}) => {
    runs += 1;
    const own = join(directory, `${runs}-${lane.name}`);
    mkdirSync(own);
    const server = await startLane(lane, own, around, options);
    try {
      return await measure(server);
    } finally {
      await server.stop();
    }
  };
}

function startLane(
  lane: Lane,
  directory: string,
  around: Stubs,
  { slowSettle = false, preload, env = {} }: RunOptions,
): Promise<Child> {
  const facilitatorUrl = slowSettle ? around.slowFacilitatorUrl : around.facilitatorUrl;
  const command = lane.command(directory, { ...around, facilitatorUrl });
  const args = preload === undefined ? command.args : ["--import", preload, ...command.args];
  return startChild(
    { ...command, args, env: { ...command.env, ...env } },
    { path: PRICED_PATH, status: 402 },
  );
}

/** Node adds these itself. */
const OWN_HEADERS = new Set(["date", "connection", "keep-alive", "transfer-encoding"]);

/** Writes an answer to a file, for a bare server (servers/challenge.mjs) to send the same bytes. */
export async function keepChallenge(url: string, file: string, call: RequestInit = {}): Promise<void> {
  const response = await fetch(url, call);
  const body = Buffer.from(await response.arrayBuffer());
  const headers = Object.fromEntries([...response.headers].filter(([name]) => !OWN_HEADERS.has(name)));
  const challenge = { status: response.status, headers, body: body.toString("base64") };
  writeFileSync(file, JSON.stringify(challenge));
}
