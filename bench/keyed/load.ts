import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONNECTIONS, runWrk, type WrkResult } from "../load.ts";
import { CALL_PATH, MODEL } from "./lane.ts";

/** What every caller sends, 61 bytes. */
export const CALL_BODY = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Hi" }] });
export const STREAM_BODY = JSON.stringify({
  model: MODEL,
  messages: [{ role: "user", content: "Hi" }],
  stream: true,
});

export interface Calls {
  /** Of the server. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly seconds: number;
  /** Default: 32. */
  readonly connections?: number;
  /** Where the loader's script is written. */
  readonly directory: string;
  /** Tells loads at once apart. */
  readonly name?: string;
}

/** The same call again and again from 32 connections; every answer must be a 200. Needs wrk. */
export async function loadCalls(calls: Calls): Promise<WrkResult> {
  const seen = await post(calls);
  if (seen.refused > 0 || seen.total === 0) throw new Error(`not every answer was a 200:\n${seen.output}`);
  return seen;
}

/** The same, where every answer must be a refusal. */
export async function loadRefused(calls: Calls): Promise<WrkResult> {
  const seen = await post(calls);
  if (seen.refused !== seen.total) throw new Error(`not every answer was a refusal:\n${seen.output}`);
  return seen;
}

function post({
  url,
  headers,
  seconds,
  directory,
  connections = CONNECTIONS,
  name = "",
}: Calls): Promise<WrkResult> {
  const script = join(directory, `call${name}.lua`);
  const all = Object.entries({ "content-type": "application/json", ...headers });
  const lines = [
    'wrk.method = "POST"',
    `wrk.body = ${JSON.stringify(CALL_BODY)}`,
    ...all.map(([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`),
  ];
  writeFileSync(script, `${lines.join("\n")}\n`);
  return runWrk(["-t1", `-c${connections}`, `-d${seconds}s`, "-s", script, url + CALL_PATH]);
}
