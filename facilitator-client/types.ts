import type { PaymentPayloadV1, PaymentRequirementsV1 } from "@x402/core/schemas";
import type { PaymentPayload, PaymentRequirements } from "@x402/core/types";
import type { CancelSignal } from "./cancellation.ts";

/** What `/verify` and `/settle` are sent. Tokens are stripped before it gets here. */
export type FacilitatorRequest =
  | {
      readonly x402Version: 2;
      readonly paymentPayload: PaymentPayload;
      readonly paymentRequirements: PaymentRequirements;
    }
  | {
      readonly x402Version: 1;
      readonly paymentPayload: PaymentPayloadV1;
      readonly paymentRequirements: PaymentRequirementsV1;
    };

/**
 * `refused`: the facilitator says no; nothing was broadcast. `not_sent`: the request never reached it (no connection, or
 * cancelled). `unknown`: it may have been handled (time-out, 5xx, garbled reply, dropped connection).
 * `reason` is a word for logs and records, never for clients.
 */
export type VerifyResult =
  | { readonly outcome: "ok"; readonly payer: string | undefined }
  | { readonly outcome: "refused"; readonly reason: string }
  | { readonly outcome: "not_sent"; readonly reason: string }
  | { readonly outcome: "unknown"; readonly reason: string };

/** As {@link VerifyResult}; `refused` only for reasons of the table that precede broadcasting (reasons.ts). */
export type SettleResult =
  | {
      readonly outcome: "ok";
      readonly transaction: string;
      readonly payer: string | undefined;
      readonly network: string;
    }
  | { readonly outcome: "refused"; readonly reason: string }
  | { readonly outcome: "not_sent"; readonly reason: string }
  | {
      readonly outcome: "unknown";
      readonly reason: string;
      readonly transaction: string | undefined;
      /** It was a well-formed reply: the facilitator works, and only this settlement is in doubt. */
      readonly replied?: true;
    };

/** One payment kind a facilitator offers. */
export interface SupportedKind {
  readonly x402Version: number;
  readonly scheme: string;
  /** CAIP-2 in v2, a plain name such as `solana` in v1. */
  readonly network: string;
  readonly feePayer: string | undefined;
  /** Whoever else may pay the fee there: a facilitator with several fee payers names one of them at random. */
  readonly signers: readonly string[];
}

export type SupportedResult =
  | { readonly outcome: "ok"; readonly kinds: readonly SupportedKind[] }
  | { readonly outcome: "failed"; readonly reason: string };

/** A facilitator over HTTP. No method throws. */
export interface Facilitator {
  /** Where it is, for logs and health; without credentials. */
  readonly name: string;
  /** May be retried once, on a connection error only. */
  verify(request: FacilitatorRequest, signal?: CancelSignal): Promise<VerifyResult>;
  /** Sent once and never cancelled: from the first byte on the outcome belongs to the record. */
  settle(request: FacilitatorRequest): Promise<SettleResult>;
  supported(): Promise<SupportedResult>;
  close(): Promise<void>;
}
