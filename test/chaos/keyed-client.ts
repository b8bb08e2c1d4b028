import { setTimeout as wait } from "node:timers/promises";
import { type AgentOptions, type Crowd, REST_MS } from "./agent.ts";
import { LEAST_WHOLE_COST } from "./check-keyed.ts";
import { type Attempt, type KeyedCall, PHASES } from "./evidence.ts";
import { type Exchange, exchange, type Sending } from "./exchange.ts";
import type { Random } from "./random.ts";
import { UPSTREAM_PROMPT_TOKENS } from "./upstream.ts";

/** An account that one or more clients spend from. */
export interface Purse {
  readonly account: string;
  /** The next call's number: it makes the call's cost unlike that of any other call of the account. */
  next(): number;
  /** Puts more money on it. */
  topUp(): Promise<void>;
}

export interface KeyedClientOptions {
  readonly crowd: Crowd;
  readonly name: string;
  readonly random: Random;
  readonly secret: string;
  readonly purse: Purse;
  readonly onCall: (call: KeyedCall) => void;
  readonly isEnough: AgentOptions["isEnough"];
}

interface Work {
  readonly call: KeyedCall & { finished: boolean; attempts: Attempt[] };
  readonly request: Omit<Sending, "gateway">;
}

const LEAVES = 0.04;
const NEVER_BACK = 0.4;
const IDEMPOTENT = 0.4;
/** Output tokens of the cheapest whole call; each costs two micro-dollars, each of the prompt one. */
const LEAST_TOKENS = LEAST_WHOLE_COST / 2n;

/** Makes one call after the other by key; with an Idempotency-Key it asks until it has an end. Resolves when the crowd is over. */
export async function runKeyedClient(options: KeyedClientOptions): Promise<void> {
  const { crowd, random, name, purse } = options;
  await wait(random.between(0, 500));
  for (let number = 0; !crowd.isOver(); number += 1) {
    const work = plan(`${name}-${number}`, options);
    options.onCall(work.call);
    work.call.finished = await makeCall(crowd, random, work);
    if (work.call.attempts.some(({ code }) => code === "insufficient_credits")) await purse.topUp();
    if (options.isEnough()) await wait(random.between(0, REST_MS));
  }
}

function plan(id: string, { random, secret, purse }: KeyedClientOptions): Work {
  const kind = random.pick(["json", "json", "stream", "stream", "large"]);
  const tokens = LEAST_TOKENS + BigInt(purse.next());
  const content = `call:${id} tokens:${tokens} ${kind === "large" ? "size:large" : ""}`;
  const idempotent = random.chance(IDEMPOTENT);
  const streams = kind === "stream";
  return {
    call: {
      id,
      account: purse.account,
      cost: tokens * 2n + BigInt(UPSTREAM_PROMPT_TOKENS),
      streams,
      idempotent,
      attempts: [],
      finished: false,
    },
    request: {
      path: "/v1/chat/completions",
      streams,
      body: JSON.stringify({
        model: "metered",
        messages: [{ role: "user", content }],
        max_tokens: Number(tokens),
        ...(streams ? { stream: true } : {}),
      }),
      headers: {
        authorization: `Bearer ${secret}`,
        ...(idempotent ? { "idempotency-key": `chaos-${id}` } : {}),
      },
    },
  };
}

/** False: its time is over, and it was not told how the call ended. */
async function makeCall(crowd: Crowd, random: Random, { call, request }: Work): Promise<boolean> {
  let leaves = random.chance(LEAVES);
  for (;;) {
    if (crowd.isLate()) return false;
    const reply = await exchange(crowd.door, {
      ...request,
      gateway: random.between(0, crowd.door.urls.length - 1),
      leaves: leaves ? { phase: random.pick(PHASES), afterMs: random.between(0, 30) } : undefined,
    });
    leaves = false;
    const { attempt } = reply;
    call.attempts.push(attempt);
    if (attempt.end === "left" && (!call.idempotent || random.chance(NEVER_BACK))) return true;
    if (attempt.end !== "unsent" && !call.idempotent) return true;
    if (attempt.end === "answered" && !isToBeSentAgain(attempt)) return true;
    if (crowd.isOver() && attempt.end === "unsent") return true;
    await wait(retryDelayMs(reply, random));
  }
}

function isToBeSentAgain({ status = 0, code }: Attempt): boolean {
  return status === 503 || code === "request_in_progress";
}

function retryDelayMs({ headers }: Exchange, random: Random): number {
  return Math.min(Number(headers["retry-after"] ?? 0.1), 1) * 1_000 + random.between(0, 100);
}
