import { setTimeout as wait } from "node:timers/promises";
import { x402Client, x402HTTPClient } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import { paymentId } from "../support/buyer.ts";
import { type Attempt, PHASES, type WalletCall } from "./evidence.ts";
import { type Door, type Exchange, exchange, type Sending } from "./exchange.ts";
import type { Random } from "./random.ts";

/** What all clients of a run share. */
export interface Crowd {
  readonly door: Door;
  /** No new calls and no new payments from now on; what was begun is brought to its end. */
  isOver(): boolean;
  /** Nobody waits any longer, whatever is open. */
  isLate(): boolean;
}

export interface AgentOptions {
  readonly crowd: Crowd;
  readonly name: string;
  readonly random: Random;
  readonly wallet: ConstructorParameters<typeof ExactSvmScheme>[0];
  readonly rpcUrl: string;
  readonly onCall: (call: WalletCall) => void;
  /** What was wanted of its kind is reached: it goes on, and leaves the machine to the others. */
  readonly isEnough: () => boolean;
}

type Payment = Readonly<Record<string, string>>;

/** A call under way. */
interface Work {
  readonly call: WalletCall & { finished: boolean; attempts: Attempt[]; payments: string[] };
  readonly request: Omit<Sending, "gateway" | "headers">;
}

/** Agents that speak protocol v1. */
const OLD = 0.1;
const LEAVES = 0.12;
/** Of those that left: who never comes back, and who signs anew instead of asking again. */
const NEVER_BACK = 0.4;
const SIGNS_ANEW = 0.3;
const ASKS_AGAIN_THOUGH_SERVED = 0.15;
const MOST_PAYMENTS = 4;
const LONGEST_WAIT_MS = 2_000;
/** Between two calls, once there are enough. */
export const REST_MS = 1_000;
/** Before another try, where no gateway listened. */
const AWAY_MS = [100, 400] as const;

/**
 * An agent that makes one paid call after the other: asks for terms, signs with the official client, and sends the same payment
 * until it has an end. Sometimes it leaves in the middle. Resolves when the crowd is over.
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { crowd, random, name, wallet } = options;
  const sign = random.chance(OLD) ? signerV1(options) : signer(options);
  await wait(random.between(0, 500));
  for (let number = 0; !crowd.isOver(); number += 1) {
    const work = plan(`${name}-${number}`, wallet.address, random);
    options.onCall(work.call);
    work.call.finished = await makeCall(crowd, random, sign, work);
    if (options.isEnough()) await wait(random.between(0, REST_MS));
  }
}

/** Signs what a 402 asks for. */
type Sign = (unpaid: Exchange) => Promise<Payment>;

function signer({ wallet, rpcUrl }: AgentOptions): Sign {
  const client = new x402Client().register("solana:*", new ExactSvmScheme(wallet, { rpcUrl }));
  const http = new x402HTTPClient(client);
  return async ({ headers }) => {
    const required = http.getPaymentRequiredResponse((name) => headers[name.toLowerCase()]?.toString());
    return http.encodePaymentSignatureHeader(await http.createPaymentPayload(required));
  };
}

/** A v1 client reads the body and never looks at the header. */
function signerV1({ wallet, rpcUrl }: AgentOptions): Sign {
  const client = new x402Client().registerV1("solana", new ExactSvmSchemeV1(wallet, { rpcUrl }));
  const http = new x402HTTPClient(client);
  return async ({ body }) => {
    const required = http.getPaymentRequiredResponse(() => undefined, JSON.parse(body));
    return http.encodePaymentSignatureHeader(await http.createPaymentPayload(required));
  };
}

function plan(id: string, payer: string, random: Random): Work {
  const kind = random.pick(["agent", "chat", "stream", "stream", "large"]);
  const content = `call:${id} ${kind === "large" ? "size:large" : ""}`;
  const streams = kind === "stream";
  const asked =
    kind === "agent"
      ? { prompt: content }
      : { model: "flat", messages: [{ role: "user", content }], ...(streams ? { stream: true } : {}) };
  return {
    call: { id, payer, streams, attempts: [], payments: [], finished: false },
    request: {
      path: kind === "agent" ? "/agent" : "/v1/chat/completions",
      body: JSON.stringify(asked),
      streams,
    },
  };
}

/** False: its time is over, and it was not told how the call ended. */
async function makeCall(crowd: Crowd, random: Random, sign: Sign, work: Work): Promise<boolean> {
  for (let payments = 0; payments < MOST_PAYMENTS && !crowd.isOver(); payments += 1) {
    const payment = await askAndSign(crowd, random, sign, work);
    if (payment === undefined) return true;
    const end = await pay(crowd, random, work, payment, payments === 0 && random.chance(LEAVES));
    if (end !== "refused") return end === "over";
  }
  return true;
}

/** Asks without a payment until there are terms. Undefined: the crowd is over. */
async function askAndSign(
  crowd: Crowd,
  random: Random,
  sign: Sign,
  work: Work,
): Promise<Payment | undefined> {
  while (!crowd.isOver()) {
    const unpaid = await send(crowd, random, work, {}, undefined, undefined);
    if (unpaid.attempt.status === 402 && unpaid.attempt.end === "answered") {
      const payment = await sign(unpaid);
      work.call.payments.push(paymentId(payment));
      return payment;
    }
    await wait(random.between(...AWAY_MS));
  }
  return undefined;
}

/** Sends one payment until it has an end. `refused`: no money moved, sign another. `open`: it is late. */
async function pay(
  crowd: Crowd,
  random: Random,
  work: Work,
  payment: Payment,
  leaves: boolean,
): Promise<"over" | "refused" | "open"> {
  const id = paymentId(payment);
  let leaving = leaves;
  for (;;) {
    if (crowd.isLate()) return "open";
    const reply = await send(crowd, random, work, payment, id, leaving ? leaveAt(random) : undefined);
    leaving = false;
    const { attempt } = reply;
    if (attempt.end === "left") {
      if (random.chance(NEVER_BACK)) return "over";
      if (random.chance(SIGNS_ANEW)) return "refused";
    } else if (attempt.answer !== undefined) {
      if (random.chance(ASKS_AGAIN_THOUGH_SERVED)) await send(crowd, random, work, payment, id, undefined);
      return "over";
    } else if (attempt.end === "answered" && !isToBeSentAgain(attempt)) {
      return attempt.status === 402 ? "refused" : "over";
    }
    await wait(attempt.end === "unsent" ? random.between(...AWAY_MS) : retryDelayMs(reply, random));
  }
}

function leaveAt(random: Random): Sending["leaves"] {
  return { phase: random.pick(PHASES), afterMs: random.between(0, 40) };
}

/** 503, and what is at work or too much just now, ask for the same payment again. */
function isToBeSentAgain({ status, code }: Attempt): boolean {
  return status === 503 || status === 429 || code === "payment_in_progress";
}

function retryDelayMs({ headers }: Exchange, random: Random): number {
  const told = Number(headers["retry-after"] ?? 0.3) * 1_000;
  return Math.min(told, LONGEST_WAIT_MS) + random.between(0, 200);
}

async function send(
  { door }: Crowd,
  random: Random,
  { call, request }: Work,
  headers: Payment,
  payment: string | undefined,
  leaves: Sending["leaves"],
): Promise<Exchange> {
  const gateway = random.between(0, door.urls.length - 1);
  const reply = await exchange(door, { ...request, gateway, headers, payment, leaves });
  call.attempts.push(reply.attempt);
  return reply;
}
