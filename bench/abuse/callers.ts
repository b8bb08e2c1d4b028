import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CALL_PATH } from "../keyed/lane.ts";
import { CALL_BODY } from "../keyed/load.ts";
import { runWrk } from "../load.ts";
import { type AttackedGround, SOLD_PATH } from "./ground.ts";

/** p99 of callers that do nothing wrong, ms, in one window of {@link WINDOW_SECONDS}. */
export interface GoodCallers {
  readonly keyedP99Ms: number;
  readonly unpaidP99Ms: number;
}

/** Of several windows: a slow disk spoils one of them, an attack all. */
export interface Fared extends GoodCallers {
  readonly keyedWorstMs: number;
  readonly unpaidWorstMs: number;
}

const WINDOW_SECONDS = 4;

const CONNECTIONS = 4;
/** Between two calls of a connection: they are measured, not to be a load themselves. */
const PAUSE_MS = 20;

/** One window after the other. Rejects if a caller is not answered as it should be. */
export async function watchGoodCallers(ground: AttackedGround, windows: number): Promise<GoodCallers[]> {
  const seen: GoodCallers[] = [];
  for (let count = 0; count < windows; count += 1) seen.push(await watchOnce(ground));
  return seen;
}

/** The median of the windows' p99, and the worst. */
export function fared(windows: readonly GoodCallers[]): Fared {
  const keyed = windows.map(({ keyedP99Ms }) => keyedP99Ms).sort((a, b) => a - b);
  const unpaid = windows.map(({ unpaidP99Ms }) => unpaidP99Ms).sort((a, b) => a - b);
  const middle = Math.floor(windows.length / 2);
  return {
    keyedP99Ms: keyed[middle] ?? Number.NaN,
    unpaidP99Ms: unpaid[middle] ?? Number.NaN,
    keyedWorstMs: keyed.at(-1) ?? Number.NaN,
    unpaidWorstMs: unpaid.at(-1) ?? Number.NaN,
  };
}

/** Four connections that call with a good key, and four that ask for the price. */
async function watchOnce(ground: AttackedGround): Promise<GoodCallers> {
  const { headers, url } = ground.server;
  const keyed = {
    method: "POST",
    body: CALL_BODY,
    headers: { "content-type": "application/json", ...headers },
  };
  const [called, asked] = await Promise.all([
    load(ground, "keyed", url + CALL_PATH, keyed),
    load(ground, "unpaid", url + SOLD_PATH, { method: "GET", body: "", headers: {} }),
  ]);
  if (called.refused > 0) throw new Error(`a good key was refused:\n${called.output}`);
  if (asked.refused !== asked.total)
    throw new Error(`not every question was answered with 402:\n${asked.output}`);
  return { keyedP99Ms: called.p99Ms, unpaidP99Ms: asked.p99Ms };
}

interface Call {
  readonly method: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

function load({ directory }: AttackedGround, name: string, url: string, call: Call) {
  const script = join(directory, `${name}.lua`);
  const lines = [
    `wrk.method = ${JSON.stringify(call.method)}`,
    ...(call.body === "" ? [] : [`wrk.body = ${JSON.stringify(call.body)}`]),
    ...Object.entries(call.headers).map(
      ([header, value]) => `wrk.headers[${JSON.stringify(header)}] = ${JSON.stringify(value)}`,
    ),
    `function delay() return ${PAUSE_MS} end`,
  ];
  writeFileSync(script, `${lines.join("\n")}\n`);
  return runWrk(["-t1", `-c${CONNECTIONS}`, `-d${WINDOW_SECONDS}s`, "--timeout", "10s", "-s", script, url]);
}
