import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CALL_PATH } from "../keyed/lane.ts";
import { CALL_BODY } from "../keyed/load.ts";
import { runWrk } from "../load.ts";
import { type AttackedGround, SOLD_PATH } from "./ground.ts";

/** p99 of callers that do nothing wrong, ms. */
export interface GoodCallers {
  readonly keyedP99Ms: number;
  readonly unpaidP99Ms: number;
}

const CONNECTIONS = 4;
/** Between two calls of a connection: they are measured, not to be a load themselves. */
const PAUSE_MS = 20;

/** Four connections that call with a good key, and four that ask for the price. Rejects if one of them is not answered so. */
export async function measureGoodCallers(ground: AttackedGround, seconds: number): Promise<GoodCallers> {
  const { headers, url } = ground.server;
  const keyed = {
    method: "POST",
    body: CALL_BODY,
    headers: { "content-type": "application/json", ...headers },
  };
  const [called, asked] = await Promise.all([
    load(ground, "keyed", url + CALL_PATH, keyed, seconds),
    load(ground, "unpaid", url + SOLD_PATH, { method: "GET", body: "", headers: {} }, seconds),
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

function load({ directory }: AttackedGround, name: string, url: string, call: Call, seconds: number) {
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
  return runWrk(["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url]);
}
