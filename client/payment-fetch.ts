import type { TransactionSigner } from "@solana/kit";
import { decodePaymentResponseHeader } from "@x402/fetch";
import { watchBody, withHeader } from "./answer-body.ts";
import { type ChosenAsset, parseTokens, readToken } from "./asset.ts";
import { FareboxError } from "./farebox-error.ts";
import { createKeptPayments } from "./kept-payments.ts";
import { type Call, callOf, type Payment, paymentFor, readCall, withPayment } from "./payment.ts";
import { isOver } from "./payment-on-chain.ts";
import {
  type Answered,
  brokenOff,
  type Caller,
  fetchOnce,
  type PaidAnswer,
  type Resend,
  type SendOptions,
  sendUntilAnswered,
} from "./send-until-answered.ts";
import { createPaymentSigner, type PaymentSigner } from "./sign-payment.ts";
import { formatPrice, readTerms, type Terms } from "./terms.ts";
import type { MicroUsd } from "./usd.ts";

/** What happens during a paid call, in this order; `resend` any number of times. */
export type PaymentEvent =
  | { readonly type: "terms"; readonly terms: Terms }
  /** Before the payment is sent: the moment to write it down, if it has to survive this process. */
  | { readonly type: "signed"; readonly payer: string; readonly terms: Terms; readonly payment: Payment }
  | Resend
  | { readonly type: "receipt"; readonly receipt: Receipt };

/** What the server's `PAYMENT-RESPONSE` header says. */
export interface Receipt {
  readonly success: boolean;
  readonly transaction: string;
  readonly payer: string | undefined;
  readonly network: string;
}

export interface PaymentFetchOptions extends SendOptions {
  readonly wallet: TransactionSigner | (() => Promise<TransactionSigner>);
  /** A Solana RPC for the blockhash and the mint. Undefined: the network's public one. */
  readonly rpcUrl?: string | undefined;
  /** A dearer call is refused with `too_dear`, before anything is signed. For USDC. */
  readonly maxPrice: MicroUsd;
  /** Pays in this token and in no other, within its own limit. Undefined: USDC. */
  readonly asset?: ChosenAsset | undefined;
  /** CAIP-2; undefined: every network of Solana that has USDC. */
  readonly networks?: readonly string[] | undefined;
  readonly onEvent?: ((event: PaymentEvent) => void) | undefined;
  /** Runs before signing, with the accepted terms: the place to look at the balance. A throw ends the call unpaid. */
  readonly beforeSigning?: ((terms: Terms) => Promise<void>) | undefined;
}

/** A `fetch` that pays, and what it has not finished. */
export interface PaymentFetch extends Caller {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/**
 * A `fetch` that pays for a 402 on Solana, in USDC or in a token that was chosen.
 *
 *     asked -402-> signed -> sent -> served      the whole answer is here
 *                             |  `-> refused     402 that Farebox gives before it broadcasts: no money moved
 *                             |  `-> spent       409: credited, answered before, or another call's
 *                             v
 *                 409 payment_in_progress, 503, time-out, dropped connection: sent again, the same bytes
 *                             |
 *                             v  attempts or time used up, aborted; or failed otherwise
 *                            kept, until an equal call or `resume` sends it again
 *
 * Invariant: one call signs at most one payment, and none while an equal call's payment has no end; a kept one that was
 * answered but bought nothing is let go only when the chain has not taken it and no longer would.
 * Redirects are returned, not followed: a payment goes to the named host only.
 * Throws {@link FareboxError}; a call aborted by its own signal rejects with the signal's reason.
 */
export function createPaymentFetch(options: PaymentFetchOptions): PaymentFetch {
  const { now = Date.now, onEvent: emit = () => {}, rpcUrl } = options;
  const kept = createKeptPayments((payment) => isOver(payment, rpcUrl, now()), now);

  async function ask(input: string | URL | Request, init?: RequestInit): Promise<PaidAnswer> {
    const call = await readCall(input, init);
    // Of equal calls at once several payments may have no end; one that was refused says nothing about the others.
    for (let earlier = await kept.take(call); earlier !== undefined; earlier = await kept.take(call)) {
      const answered = await send(call, earlier);
      if (answered.verdict !== "refused") return answered;
      await answered.response.body?.cancel();
    }
    const first = await fetchOnce(call, options);
    if (first.status !== 402) return { response: first, payment: undefined };
    const payment = await sign(call, first);
    call.init.signal.throwIfAborted();
    return send(call, payment);
  }

  let signer: Promise<PaymentSigner> | undefined;
  async function openSigner(): Promise<PaymentSigner> {
    const wallet = typeof options.wallet === "function" ? await options.wallet() : options.wallet;
    return createPaymentSigner({ wallet, rpcUrl });
  }

  async function sign(call: Call, response: Response): Promise<Payment> {
    const terms = await termsOf(response, options);
    emit({ type: "terms", terms });
    const most = limitOf(terms, options);
    if (terms.price > most) throw tooDear(terms, most);
    await options.beforeSigning?.(terms);
    signer ??= openSigner();
    const { payer, sign } = await signer;
    const payment = paymentFor(call, await sign(terms), now());
    emit({ type: "signed", payer, terms, payment });
    return payment;
  }

  async function send(call: Call, payment: Payment): Promise<PaidAnswer & Answered> {
    let verdict: Answered["verdict"] = "undecided";
    try {
      const answered = await sendUntilAnswered(withPayment(call, payment), payment, options, emit);
      verdict = answered.verdict;
      const receipt = readReceipt(answered.response.headers);
      if (receipt !== undefined) emit({ type: "receipt", receipt });
      const keep = () => kept.keep(call, payment, false);
      return { ...answered, response: finish(answered, payment, call), payment, keep };
    } finally {
      if (verdict === "undecided" || verdict === "unspent") kept.keep(call, payment, verdict === "unspent");
    }
  }

  /** An answer that breaks off has not ended its payment; one that ended it must not make an SDK pay again. */
  function finish({ response, verdict }: Answered, payment: Payment, call: Call): Response {
    if (verdict === "spent") return withHeader(response, "x-should-retry", "false");
    if (verdict !== "served") return response;
    return watchBody(response, (fault) => {
      if (call.init.signal.aborted) return call.init.signal.reason;
      kept.keep(call, payment, false);
      return brokenOff(fault, payment);
    });
  }

  const paymentFetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
    (await ask(input, init)).response;
  return Object.assign(paymentFetch, {
    ask,
    resume: async (payment: Payment, signal?: AbortSignal, authorization?: string) => {
      const call = callOf(payment, signal);
      const known = kept.drop(payment);
      const named = authorization ?? known;
      if (named !== undefined) call.init.headers.set("authorization", named);
      else if (payment.authorized === true) throw unauthorized();
      return send(call, payment);
    },
    unfinished: () => kept.list(),
  });
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

async function termsOf(response: Response, options: PaymentFetchOptions): Promise<Terms> {
  const { asset, networks, rpcUrl } = options;
  const terms = readTerms(response, networks, asset?.mint);
  await response.body?.cancel();
  if (asset === undefined) return terms;
  return { ...terms, token: await readToken(terms.network, rpcUrl, asset) };
}

/** The most that may be signed for, in the unit of the terms' price. */
function limitOf({ token }: Terms, { asset, maxPrice }: PaymentFetchOptions): bigint {
  if (asset === undefined || token === undefined) return maxPrice;
  const { maxAmount } = asset;
  const most = typeof maxAmount === "bigint" ? maxAmount : parseTokens(maxAmount, token.decimals);
  if (most !== undefined) return most;
  throw new FareboxError(
    "invalid_options",
    `The limit is no amount of a token with ${token.decimals} decimals. Nothing was signed.`,
  );
}

/** Without the header that named another account a top-up would credit the wallet's. */
function unauthorized(): FareboxError {
  return new FareboxError(
    "invalid_payment",
    "This payment's call had an Authorization header, which is not kept: give it to resume. Nothing was sent.",
  );
}

function tooDear(terms: Terms, most: bigint): FareboxError {
  return new FareboxError(
    "too_dear",
    `The call costs ${formatPrice(terms, terms.price)}, above the limit of ${formatPrice(terms, most)}. Nothing was signed.`,
  );
}
