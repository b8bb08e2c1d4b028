import type { PaymentState } from "../ledger/ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { RecordProblem } from "./compare-record.ts";

/**
 * One thing in which ledger and chain differ: {@link RecordProblem}, or a transfer that nobody was served for
 * (`transfer_without_call`), or one of which it cannot be told who paid it (`payer_unclear`) or, in another token than USDC, what was
 * offered for it (`value_unknown`). The last two are never credited.
 */
export interface Difference {
  readonly problem: RecordProblem | "transfer_without_call" | "payer_unclear" | "value_unknown";
  /** The payment's id, whether there is a record or not. */
  readonly payment: string;
  /** Undefined: there is no record. */
  readonly state: PaymentState | undefined;
  /** Whose the credit is, or would be: the record's beneficiary, else `wallet:<payer>`. Undefined: unclear. */
  readonly account: string | undefined;
  /** What the record says; without one, what payTo gained of USDC. Undefined: unknown. */
  readonly amount: MicroUsd | undefined;
  readonly asset: string;
  /** Atomic units: what the record says; without one, what payTo gained. */
  readonly assetAmount: bigint;
  readonly transaction: string | undefined;
  /** The amount is on the account now, so nothing is left to do. */
  readonly credited: boolean;
}

/**
 * What is not wrong yet. `settlement_unknown`: the reconciler has it. `in_progress`: somebody works on it. `not_on_chain_yet`: the
 * record says that it moved, and the nodes may still come to show it. `recent`: a transfer without a record, so young that a gateway
 * may be about to make one. `settled_not_served`: it was decided just now; its client may still come for it.
 */
export interface Undecided {
  readonly reason:
    | "settlement_unknown"
    | "in_progress"
    | "not_on_chain_yet"
    | "recent"
    | "settled_not_served";
  readonly payment: string;
  readonly state: PaymentState | undefined;
  readonly transaction: string | undefined;
}

/** What a comparison found. */
export interface ChainReport {
  readonly payments: number;
  /** Incoming and other transactions of payTo's accounts that were looked through. */
  readonly transactions: number;
  readonly differences: readonly Difference[];
  readonly undecided: readonly Undecided[];
}

/** Collects what is found, each payment once. */
export interface Findings {
  readonly differences: Difference[];
  readonly undecided: Undecided[];
  differs(difference: Difference): void;
  waits(undecided: Undecided): void;
}

/** An empty collection. */
export function createFindings(): Findings {
  const differences: Difference[] = [];
  const undecided: Undecided[] = [];
  const known = new Set<string>();
  const isNew = (payment: string): boolean => {
    if (known.has(payment)) return false;
    known.add(payment);
    return true;
  };
  return {
    differences,
    undecided,
    differs: (difference) => void (isNew(difference.payment) && differences.push(difference)),
    waits: (item) => void (isNew(item.payment) && undecided.push(item)),
  };
}
