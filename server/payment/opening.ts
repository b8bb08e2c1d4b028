import type { CancelSignal } from "../../facilitator-client/cancellation.ts";
import type { FacilitatorRequest } from "../../facilitator-client/types.ts";
import { type ErrorCode, GatewayError } from "../errors.ts";
import type { Ledger, PaymentRecord } from "../ledger/ledger.ts";
import type { Route } from "../routes.ts";
import type { ArrivedPayment } from "./arrived-payment.ts";
import type { StoredResponse } from "./charge.ts";
import type { Facilitators } from "./facilitators.ts";
import type { Reconciler } from "./reconcile.ts";
import type { PaymentSource, RefusedPayments } from "./refused-payments.ts";
import { createX402Charge, type WalletCharge } from "./x402-charge.ts";
import type { X402ChargeParts, X402Payment } from "./x402-payment.ts";

/** What a payment header leads to. `error` with status 402 is answered with fresh requirements. */
export type Opening =
  | { readonly kind: "charge"; readonly charge: WalletCharge }
  | {
      readonly kind: "replay";
      readonly response: StoredResponse;
      readonly proof: Readonly<Record<string, string>>;
    }
  /** Settled, and on an account instead of served; as it was read, or just before it was credited. */
  | { readonly kind: "credited"; readonly record: PaymentRecord }
  | { readonly kind: "error"; readonly error: GatewayError };

export interface PaymentCall {
  readonly route: Route;
  /** As its 402 names it (resource-path.ts). */
  readonly path: string;
  /** Of the request (fingerprint.ts). */
  readonly fingerprint: string;
  /** See {@link PaymentRecord.beneficiary}. */
  readonly beneficiary: string | undefined;
  /** Of the client. */
  readonly address: string;
  /** Aborted when the client leaves before anything was settled. */
  readonly signal: CancelSignal;
  /** See {@link X402Payment}. */
  readonly usage: X402Payment["usage"];
  readonly onEnd: X402Payment["onEnd"];
}

export interface OpenPaymentParts extends X402ChargeParts {
  readonly ledger: Ledger;
  readonly facilitators: Facilitators;
  readonly reconciler: Reconciler;
  readonly refusals: RefusedPayments;
  readonly leaseMs: number;
  readonly settleByMs: number;
  readonly maxInFlight: number;
  readonly keepResponses: boolean;
  /** Upper bound of the chain's height, if known (height-tracker.ts). */
  readonly height: () => bigint | undefined;
  readonly now: () => number;
  /** The facilitator no longer manages a feePayer that we offered: ask it again. */
  readonly onFeePayerRefused: () => void;
}

export function sourceOf(payment: ArrivedPayment, { address }: PaymentCall): PaymentSource {
  return { address, payer: payment.transfer.payer, isPayersDoing: payment.x402Version === 2 };
}

/** The charge of a payment that is claimed, or was settled earlier. */
export function chargeOf(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  request: FacilitatorRequest,
  claim: Omit<X402Payment, "payer" | "request" | "settleBy" | "responseKeys">,
): WalletCharge {
  // What is spread comes last: before other fields it would give each object a hidden class of its own.
  return createX402Charge(parts, {
    payer: payment.transfer.payer,
    request,
    settleBy: parts.now() + parts.settleByMs,
    responseKeys: parts.keepResponses ? payment.responseKeys : () => [],
    ...claim,
  });
}

export function credited(record: PaymentRecord): Opening {
  return { kind: "credited", record };
}

export function problem(code: ErrorCode, retryAfterSeconds?: number): Opening {
  const options = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  return { kind: "error", error: new GatewayError(code, options) };
}
