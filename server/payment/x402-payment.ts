import type { FacilitatorRequest } from "../../facilitator-client/types.ts";
import type { UsageFacts } from "../ledger/call-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Settler } from "./facilitators.ts";
import type { LeaseKeeper } from "./leases.ts";
import type { Proof, ProvenPayment } from "./proof.ts";

/** What every charge of a payment by wallet works with. */
export interface X402ChargeParts {
  readonly ledger: Ledger;
  readonly leases: LeaseKeeper;
  readonly leaseMs: number;
  readonly strikeMs: number;
  readonly storeTtlMs: number;
  readonly proof: Proof;
  /** The settlement of this payment is unknown: ask the chain soon. */
  readonly onUnknown: (id: string) => void;
  /** Something failed that the caller must not see but the operator must. */
  readonly onFault: (error: unknown, paymentId: string) => void;
  /** The amount went onto the payer's wallet account. */
  readonly onCredited: (amount: MicroUsd) => void;
  /** A payment reached a state, for metrics and the log. */
  readonly onState: (state: "settled" | "delivered" | "credited" | "released" | "unknown" | "parked") => void;
}

/** One claimed payment, as its charge needs it. */
export interface X402Payment extends ProvenPayment {
  readonly id: string;
  readonly amount: MicroUsd;
  readonly fence: number;
  readonly request: FacilitatorRequest;
  /** The one that verified it settles it. Undefined if it is settled already. */
  readonly facilitator: Settler | undefined;
  readonly settleBy: number;
  readonly upfront: boolean;
  /** Keys that may open the stored response; none: keep none (protocol v1). */
  readonly responseKeys: () => readonly Buffer[];
  /** Set when the payment was settled earlier and is only to be served. */
  readonly settledAs: string | undefined;
  /** What is recorded of the call when it is delivered. */
  readonly usage: () => Promise<UsageFacts>;
  /**
   * Called once, when the charge is over, unless the step that ended it has recorded the usage: what the payer bears for this
   * call, or why it bears nothing.
   */
  readonly onEnd: (charged: MicroUsd, notCharged: string | undefined) => void;
  /** The facilitator refused to settle it. */
  readonly onRefused: () => void;
}
