import { isStream, readWhole } from "./answer-body.ts";
import { FareboxError } from "./farebox-error.ts";
import type { Call, Payment } from "./payment.ts";
import { judge, type Outcome, resendDelayMs, type Verdict } from "./resend-policy.ts";

export interface SendOptions {
  readonly fetch?: typeof fetch | undefined;
  /** Sendings of one payment, the first included. */
  readonly maxAttempts?: number | undefined;
  /** From the first sending to the last, ms. A signed transaction lives about 60 s. */
  readonly maxWaitMs?: number | undefined;
  /** The same, once the server has said that the settlement is unknown. A stored answer lives 10 minutes. */
  readonly maxUnknownWaitMs?: number | undefined;
  /** Until the head of each answer, and the end of one that is read whole, ms. */
  readonly headTimeoutMs?: number | undefined;
  /** Reads an answer that is no stream to its end, so that one that breaks off is asked for again. */
  readonly wholeAnswers?: boolean | undefined;
  readonly sleep?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
  readonly now?: (() => number) | undefined;
}

/** A resend that is about to happen. */
export interface Resend {
  readonly type: "resend";
  readonly reason: string;
  readonly waitMs: number;
  /** The attempt that follows; the first sending was 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
}

export interface Answered {
  readonly response: Response;
  readonly verdict: Verdict["kind"];
}

/** An answer, and the payment that it was given for. */
export interface PaidAnswer {
  readonly response: Response;
  readonly payment: Payment | undefined;
  /** For whoever knows the answer's own end and did not find it: an equal call is to ask again with the payment. */
  readonly keep?: () => void;
}

/** Makes calls, and can repeat them without paying again. */
export interface Caller {
  ask(input: string | URL | Request, init?: RequestInit): Promise<PaidAnswer>;
  /** Sends a payment again that has no end yet, with its own call; `authorization` where that call had one. */
  resume(payment: Payment, signal?: AbortSignal, authorization?: string): Promise<PaidAnswer>;
  /** Payments that are in no running call and have no end. */
  unfinished(): readonly Payment[];
}

/** A payment that nobody has taken by then has expired, or is about to. */
const NOT_TAKEN_LIFE_MS = 90_000;

/**
 * Sends a call that carries a payment until it is answered: the same bytes each time, as `Retry-After` tells. When attempts or time
 * are used up the last answer is returned as `undecided`; without one it throws {@link FareboxError} `outcome_unknown`.
 */
export async function sendUntilAnswered(
  call: Call,
  payment: Payment,
  options: SendOptions,
  emit: (event: Resend) => void,
): Promise<Answered> {
  const { maxAttempts = 10, now = Date.now, sleep = sleepFor } = options;
  const startedAt = now();
  let waitedMs = 0;
  let outcome: Outcome = "not_taken";
  for (let attempt = 2; ; attempt += 1) {
    const { response, verdict, fault } = await send(call, options);
    if (response !== undefined && verdict.kind !== "undecided") return { response, verdict: verdict.kind };
    if (verdict.kind === "undecided") outcome = worse(outcome, verdict.outcome);
    const waitMs = resendDelayMs(response?.headers.get("retry-after") ?? null, attempt, now());
    waitedMs = Math.max(waitedMs, now() - startedAt) + waitMs;
    if (attempt > maxAttempts || waitedMs > limitOf(outcome, options)) {
      if (response === undefined) throw unknown(fault, payment);
      return { response, verdict: verdict.kind };
    }
    await response?.body?.cancel();
    const reason = verdict.kind === "undecided" ? verdict.reason : "";
    emit({ type: "resend", reason, waitMs, attempt, maxAttempts });
    await sleep(waitMs, call.init.signal);
  }
}

/** Fetches once; the time limit covers the head, the body of an answer that is read whole, and what `read` reads of it. */
async function fetchAnswer<Read>(
  call: Call,
  options: SendOptions,
  read: (response: Response) => Promise<Read>,
): Promise<Read> {
  const { fetch: fetchImpl = fetch, headTimeoutMs = 120_000, wholeAnswers = false } = options;
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(new Error(`no answer within ${headTimeoutMs} ms`)),
    headTimeoutMs,
  );
  try {
    const signal = AbortSignal.any([call.init.signal, limit.signal]);
    const response = await fetchImpl(call.url, { ...call.init, signal });
    return await read(wholeAnswers && !isStream(response) ? await readWhole(response) : response);
  } finally {
    clearTimeout(timer);
  }
}

/** Fetches a call that carries no payment, once. Throws {@link FareboxError} `unreachable`. */
export async function fetchOnce(call: Call, options: SendOptions): Promise<Response> {
  try {
    return await fetchAnswer(call, { ...options, wholeAnswers: false }, async (response) => response);
  } catch (cause) {
    call.init.signal.throwIfAborted();
    const { origin } = new URL(call.url);
    throw new FareboxError("unreachable", `${origin} cannot be reached: ${faultOf(cause)}.`, { cause });
  }
}

/** What a reader of a paid answer is told when it breaks off. */
export function brokenOff(cause: unknown, payment: Payment | undefined): FareboxError {
  return new FareboxError(
    "stream_broken",
    `The answer broke off (${faultOf(cause)}). It is paid: ask for it again with the same payment.`,
    { cause, payment },
  );
}

/** Node's fetch says "fetch failed" and keeps what happened in `cause`. */
function faultOf(fault: unknown): string {
  if (!(fault instanceof Error)) return "connection failed";
  const cause = fault.cause instanceof Error ? fault.cause : fault;
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
}

interface Sent {
  readonly response?: Response;
  readonly verdict: Verdict;
  readonly fault?: unknown;
}

/** An error that breaks off before it can be read says as little as no answer. */
async function send(call: Call, options: SendOptions): Promise<Sent> {
  try {
    return await fetchAnswer(call, options, async (response) => ({
      response,
      verdict: await judge(response),
    }));
  } catch (fault) {
    call.init.signal.throwIfAborted();
    const outcome = wasSent(fault) ? "taken" : "not_taken";
    return { fault, verdict: { kind: "undecided", reason: faultOf(fault), outcome } };
  }
}

function wasSent(fault: unknown): boolean {
  return !["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"].includes(faultOf(fault));
}

function worse(one: Outcome, other: Outcome): Outcome {
  if (one === "unknown" || other === "unknown") return "unknown";
  return one === "taken" ? one : other;
}

function limitOf(
  outcome: Outcome,
  { maxWaitMs = 120_000, maxUnknownWaitMs = maxWaitMs }: SendOptions,
): number {
  if (outcome === "unknown") return maxUnknownWaitMs;
  return outcome === "taken" ? maxWaitMs : Math.min(maxWaitMs, NOT_TAKEN_LIFE_MS);
}

function unknown(cause: unknown, payment: Payment): FareboxError {
  return new FareboxError(
    "outcome_unknown",
    `No answer to the payment (${faultOf(cause)}). It may have been settled: look at the wallet before paying again.`,
    { cause, payment },
  );
}

/** Rejects with the signal's reason. */
function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
