import { setTimeout as wait } from "node:timers/promises";
import type { TransactionSigner } from "@solana/kit";
import { decodePaymentResponseHeader } from "@x402/fetch";
import type { MicroUsd } from "../server/money.ts";
import { formatUsd } from "../server/money.ts";
import { PaymentError } from "./payment-error.ts";
import { resendDelayMs, resendReason } from "./resend-policy.ts";
import { createPaymentSigner } from "./sign-payment.ts";
import { readTerms, type Terms } from "./terms.ts";

/** What happens during a paid call, in this order; `resend` any number of times. */
export type PaymentEvent =
  | { readonly type: "terms"; readonly terms: Terms }
  | { readonly type: "signed"; readonly payer: string; readonly terms: Terms }
  | {
      readonly type: "resend";
      readonly reason: string;
      readonly waitMs: number;
      /** The attempt that follows; the first sending was 1. */
      readonly attempt: number;
      readonly maxAttempts: number;
    }
  | { readonly type: "receipt"; readonly receipt: Receipt };

/** What the server's `PAYMENT-RESPONSE` header says. */
export interface Receipt {
  readonly success: boolean;
  readonly transaction: string;
  readonly payer: string | undefined;
  readonly network: string;
}

export interface PaymentFetchOptions {
  readonly wallet: TransactionSigner;
  /** A Solana RPC for the blockhash and the mint. Undefined: the network's public one. */
  readonly rpcUrl?: string | undefined;
  /** A dearer call is refused with `too_dear`, before anything is signed. */
  readonly maxPrice: MicroUsd;
  readonly fetch?: typeof fetch;
  readonly onEvent?: (event: PaymentEvent) => void;
  /** Runs before signing, with the accepted terms: the place to look at the balance. A throw ends the call unpaid. */
  readonly beforeSigning?: (terms: Terms) => Promise<void>;
  /** Sendings of one payment, the first included. */
  readonly maxAttempts?: number;
  /** Waiting for all resends together, ms. A signed transaction lives about 60 s; a stored answer 10 minutes. */
  readonly maxWaitMs?: number;
  /** Until the head of each answer, ms. */
  readonly headTimeoutMs?: number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly now?: () => number;
}

export type PaymentFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

interface Call {
  readonly url: string;
  readonly init: RequestInit & { readonly headers: Headers; readonly signal: AbortSignal };
}

/**
 * A `fetch` that pays for a 402 in USDC on Solana.
 *
 * Invariant: one call signs at most one payment. After 503, 409 `payment_in_progress`, a time-out or a dropped connection it sends
 * that same payment again, byte for byte, as `Retry-After` tells; when the attempts are used up it returns the last answer, or
 * throws `outcome_unknown` if there was none. Redirects are returned, not followed: a payment goes to the named host only.
 * Throws {@link PaymentError}; a call aborted by its own signal rejects with the signal's reason.
 */
export function createPaymentFetch(options: PaymentFetchOptions): PaymentFetch {
  const sign = createPaymentSigner({ wallet: options.wallet, rpcUrl: options.rpcUrl });
  const emit = options.onEvent ?? (() => {});
  return async (input, init) => {
    const call = await readCall(new Request(input, init), signalOf(input, init));
    const first = await ask(call, options);
    if (first.status !== 402) return first;
    const terms = readTerms(first);
    await first.body?.cancel();
    emit({ type: "terms", terms });
    if (terms.price > options.maxPrice) throw tooDear(terms.price, options.maxPrice);
    await options.beforeSigning?.(terms);
    const payment = await sign(terms);
    call.init.signal.throwIfAborted();
    emit({ type: "signed", payer: options.wallet.address, terms });
    const answer = await sendUntilAnswered(withHeaders(call, payment), options, emit);
    const receipt = readReceipt(answer.headers);
    if (receipt !== undefined) emit({ type: "receipt", receipt });
    return answer;
  };
}

/** The body is read once, so that every sending carries the same bytes. */
async function readCall(request: Request, signal: AbortSignal): Promise<Call> {
  const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer());
  const { url, method } = request;
  return { url, init: { method, headers: new Headers(request.headers), body, signal, redirect: "manual" } };
}

/** The caller's own signal: the copy that a `Request` makes stops following it once that `Request` is collected. */
function signalOf(input: string | URL | Request, init: RequestInit | undefined): AbortSignal {
  return init?.signal ?? (input instanceof Request ? input.signal : new AbortController().signal);
}

function withHeaders(call: Call, added: Readonly<Record<string, string>>): Call {
  const headers = new Headers(call.init.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  return { url: call.url, init: { ...call.init, headers } };
}

async function ask(call: Call, options: PaymentFetchOptions): Promise<Response> {
  try {
    return await fetchHead(call, options);
  } catch (cause) {
    call.init.signal.throwIfAborted();
    const { origin } = new URL(call.url);
    throw new PaymentError("unreachable", `${origin} cannot be reached: ${faultOf(cause)}.`, { cause });
  }
}

async function sendUntilAnswered(
  call: Call,
  options: PaymentFetchOptions,
  emit: (event: PaymentEvent) => void,
): Promise<Response> {
  const { maxAttempts = 10, maxWaitMs = 120_000, now = Date.now, sleep = sleepFor } = options;
  let waitedMs = 0;
  for (let attempt = 2; ; attempt += 1) {
    const { response, fault } = await send(call, options);
    const reason = response === undefined ? faultOf(fault) : await resendReason(response);
    if (response !== undefined && reason === undefined) return response;
    const waitMs = resendDelayMs(response?.headers.get("retry-after") ?? null, attempt, now());
    waitedMs += waitMs;
    if (attempt > maxAttempts || waitedMs > maxWaitMs) return response ?? throwUnknown(fault);
    await response?.body?.cancel();
    emit({ type: "resend", reason: reason ?? "", waitMs, attempt, maxAttempts });
    await sleep(waitMs, call.init.signal);
  }
}

async function send(
  call: Call,
  options: PaymentFetchOptions,
): Promise<{ readonly response?: Response; readonly fault?: unknown }> {
  try {
    return { response: await fetchHead(call, options) };
  } catch (fault) {
    call.init.signal.throwIfAborted();
    return { fault };
  }
}

/** The time limit covers the head only; a body may stream for as long as it likes. */
async function fetchHead(call: Call, options: PaymentFetchOptions): Promise<Response> {
  const { fetch: fetchImpl = fetch, headTimeoutMs = 120_000 } = options;
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(new Error(`no answer within ${headTimeoutMs} ms`)),
    headTimeoutMs,
  );
  try {
    const signal = AbortSignal.any([call.init.signal, limit.signal]);
    return await fetchImpl(call.url, { ...call.init, signal });
  } finally {
    clearTimeout(timer);
  }
}

function readReceipt(headers: Headers): Receipt | undefined {
  const header = headers.get("payment-response");
  if (header === null) return undefined;
  try {
    const { success, transaction, payer, network } = decodePaymentResponseHeader(header);
    return { success: success === true, transaction: String(transaction), payer, network };
  } catch {
    return undefined;
  }
}

function tooDear(price: MicroUsd, maxPrice: MicroUsd): PaymentError {
  return new PaymentError(
    "too_dear",
    `The call costs ${formatUsd(price)} USD, above the limit of ${formatUsd(maxPrice)} USD. Nothing was signed.`,
  );
}

function throwUnknown(cause: unknown): never {
  throw new PaymentError(
    "outcome_unknown",
    `No answer to the payment (${faultOf(cause)}). It may have been settled: look at the wallet before paying again.`,
    { cause },
  );
}

/** Node's fetch says "fetch failed" and keeps what happened in `cause`. */
function faultOf(fault: unknown): string {
  if (!(fault instanceof Error)) return "connection failed";
  const cause = fault.cause instanceof Error ? fault.cause : fault;
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
}

async function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal });
}
