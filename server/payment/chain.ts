import type { PaymentRecord } from "../ledger/ledger.ts";

/** What a Solana node knows of a payment. `failed`: it landed and moved nothing; it cannot land again. */
export type Finding =
  | { readonly found: "settled"; readonly transaction: string }
  | { readonly found: "failed"; readonly transaction: string }
  | { readonly found: "absent" };

/**
 * The chain, as the reconciler and the start-up check need it. Every method has a time limit and throws `ChainError`
 * when the node cannot tell; "cannot tell" is never "absent".
 */
export interface Chain {
  /** Finalized block height of the node that also answers {@link Chain.find}. */
  finalizedHeight(): Promise<bigint>;
  /** Newest known (processed or confirmed) block height. */
  height(): Promise<bigint>;
  /**
   * Searches the payer's token account for the transaction of this record: by memo first, then by the SHA-256 of the
   * message; checks that it succeeded and that payTo's token account rose by the amount.
   */
  find(record: PaymentRecord): Promise<Finding>;
  /** The associated token account of an owner, and whether it exists. */
  tokenAccount(owner: string, mint: string): Promise<{ readonly address: string; readonly exists: boolean }>;
}

export class ChainError extends Error {
  override readonly name = "ChainError";
}
