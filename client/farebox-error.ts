import type { Payment } from "./payment.ts";

/**
 * Why a call ended without an answer. After `outcome_unknown` and `stream_broken` money may have moved, and `payment` asks on;
 * all others precede sending anything that is worth money.
 */
export type ClientErrorCode =
  | "invalid_options"
  | "invalid_wallet"
  | "invalid_payment"
  | "wrong_origin"
  | "unreachable"
  | "terms_unreadable"
  | "not_payable"
  | "too_dear"
  | "insufficient_funds"
  | "rpc_missing"
  | "rpc_unreachable"
  | "faucet_failed"
  | "signing_failed"
  | "answer_unreadable"
  | "stream_broken"
  | "outcome_unknown";

export interface FareboxErrorOptions {
  readonly cause?: unknown;
  /** Of the answer, if there was one. */
  readonly status?: number | undefined;
  readonly payment?: Payment | undefined;
}

/** The one error of the client; the message says what to do next. Of secrets it holds none. */
export class FareboxError extends Error {
  override readonly name = "FareboxError";
  /** A {@link ClientErrorCode}, or the code of the server's answer (docs/errors.md). */
  readonly code: string;
  readonly status: number | undefined;
  readonly #payment: Payment | undefined;

  constructor(code: ClientErrorCode | (string & {}), message: string, options: FareboxErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.status = options.status;
    this.#payment = options.payment;
  }

  /**
   * To be given to `resume`; undefined if nothing was sent that could be repeated. Whoever has it can ask for the answer, so it is
   * no plain property, which a logger would print.
   */
  get payment(): Payment | undefined {
    return this.#payment;
  }
}
