/**
 * Why a call could not be paid or finished. `outcome_unknown` is the only one after which money may have moved;
 * all others precede sending the payment.
 */
export type PaymentErrorCode =
  | "unreachable"
  | "terms_unreadable"
  | "not_payable"
  | "too_dear"
  | "insufficient_funds"
  | "rpc_missing"
  | "rpc_unreachable"
  | "faucet_failed"
  | "signing_failed"
  | "outcome_unknown";

/** Thrown by the payment fetch and by the `pay` command; the message says what to do next. */
export class PaymentError extends Error {
  override readonly name = "PaymentError";
  readonly code: PaymentErrorCode;

  constructor(code: PaymentErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
