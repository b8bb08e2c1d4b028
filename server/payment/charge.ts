import type { GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import type { Tier } from "../routes.ts";

/** An answer kept for a retry of the same payment. Header names are lower case. */
export interface StoredResponse {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
}

/** What `settle` came to. `failed`: nothing of the handler's answer may reach the client; the error is the answer. */
export type SettleResult =
  | { readonly outcome: "settled"; readonly headers: Readonly<Record<string, string>> }
  | { readonly outcome: "failed"; readonly error: GatewayError };

/** How a charge that produced an answer ended. */
export interface Capture {
  /** False: the client was gone before our first byte left; the answer is kept for its retry. */
  readonly delivered: boolean;
  /** The whole answer, when it was small enough to keep. */
  readonly response: StoredResponse | undefined;
  /** Nothing of the answer has left, and nothing will if this fails: do not try for long. */
  readonly first?: boolean;
}

/** Why a charge ended without an answer. `by` decides who bears it (design: section 3). */
export interface Release {
  readonly reason: string;
  /** `client`: it left. `server`: we, the handler or the upstream failed. */
  readonly by: "client" | "server";
  /** The handler or upstream was already working (so an abandoned call cost us something). */
  readonly worked: boolean;
}

/**
 * The money side of one call. Both money tiers give the rest of the program this object, and no other file knows
 * which tier it is.
 *
 * Life: open (by the tier) -> settle, at most once, before our first byte leaves -> exactly one of capture or release.
 * Invariant: every charge ends exactly once, also when the client hangs up, the upstream dies or the handler throws.
 */
export interface Charge {
  readonly tier: Tier;
  /** What this call costs at most. */
  readonly amount: MicroUsd;
  /** When the charge must be settled even though the answer is not complete; ms of `Date.now()`. */
  readonly settleBy: number;
  /** Settle before the handler runs (route `settle: upfront`, or a payer that has abandoned calls). */
  readonly upfront: boolean;
  /** The whole cost is known and taken before the last byte of an answer that does not stream (keys). */
  readonly capturesFirst: boolean;
  /** True once `settle` has begun: from here on the client's leaving no longer cancels the payment. */
  readonly settling: boolean;
  /**
   * x402: the facilitator's `/settle`. Never throws; calls after the first return the first's promise.
   * `isGone` is asked once more just before the money moves: a client that has left by then is not charged.
   * `whole` is the answer, where it is whole by now and small enough: it is kept together with the settlement, so that a retry
   * gets this very answer also when this process dies before it has recorded the delivery.
   */
  settle(isGone: () => boolean, whole?: StoredResponse | undefined): Promise<SettleResult>;
  /**
   * The client left after settling began: from here on a newly signed payment for the same request is taken for its retry,
   * and is not settled beside this one. Never throws.
   */
  orphan(): void;
  /**
   * After the last byte, or when the client left during settling; before the last byte where {@link capturesFirst} says so.
   * Never throws. False: it could not be recorded. Calls after the first change nothing more.
   */
  capture(capture: Capture): Promise<boolean>;
  /**
   * Nothing was delivered. Unsettled: the payment is never settled and may be used again. Settled already: the payer
   * is owed and credited. Never throws.
   */
  release(release: Release): Promise<void>;
  /** What is taken for a call that the seller's meter puts at this much; a payment by wallet is fixed. */
  costOf(metered: MicroUsd): MicroUsd;
  /** Facts for the request log and the `billing` object; the transaction is known once settled. */
  readonly receipt: ChargeReceipt;
}

export interface ChargeReceipt {
  readonly payer: string | undefined;
  readonly transaction: string | undefined;
}
