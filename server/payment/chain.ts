import type { PaymentRecord } from "../ledger/ledger.ts";
import type { MintAccount } from "./mint-account.ts";
import type { SigningReads } from "./signing-reads.ts";

/** What a Solana node knows of a payment. `failed`: it landed and moved nothing; it cannot land again. */
export type Finding =
  | { readonly found: "settled"; readonly transaction: string }
  | { readonly found: "failed"; readonly transaction: string }
  | { readonly found: "absent" };

/** A transaction of a token account's history. */
export interface ListedTransaction {
  readonly signature: string;
  /** As the node writes it, `[5] hello`; undefined if there is none, or the node does not tell. */
  readonly memo: string | undefined;
  /** It landed and moved nothing. */
  readonly failed: boolean;
  /** Milliseconds since 1970; undefined if the node does not tell. */
  readonly at: number | undefined;
}

/** What a transaction that landed did. */
export interface LandedTransaction {
  /** SHA-256 (hex) of its message bytes: the payment's id. */
  readonly id: string;
  readonly failed: boolean;
  /** Base58. */
  readonly feePayer: string;
  /** How each owner's balance of each mint changed, atomic units; an owner's accounts of one mint are added up. */
  readonly changes: readonly BalanceChange[];
}

/** What an owner gained of a mint; negative: lost. */
export interface BalanceChange {
  readonly owner: string;
  readonly mint: string;
  readonly change: bigint;
}

/**
 * The chain as one node shows it. Every method has a time limit and throws `ChainError` when the node cannot tell;
 * "cannot tell" is never "absent". Whatever is concluded from two answers must be from two of the same node.
 */
export interface Chain extends SigningReads {
  /** Finalized block height of the node that also answers {@link Chain.find}. */
  finalizedHeight(): Promise<bigint>;
  /** When the block of the last {@link Chain.finalizedHeight} was made, by the chain's own clock; ms since 1970. */
  finalizedAt(): Promise<number>;
  /** Newest known (processed or confirmed) block height. */
  height(): Promise<bigint>;
  /**
   * Searches the payer's token account for the transaction of this record: by memo first, then by the SHA-256 of the
   * message; checks that it succeeded and that payTo's token account rose by the amount.
   */
  find(record: PaymentRecord): Promise<Finding>;
  /** A transaction by its id; undefined: this node knows none of it (or not yet, or no longer). */
  transaction(signature: string): Promise<LandedTransaction | undefined>;
  /**
   * The finalized history of an owner's associated token account of a mint, newest first, back to `since` (ms since 1970).
   * Throws rather than end early: also where the node's history does not reach back so far.
   */
  history(owner: string, mint: string, since: number): AsyncIterable<ListedTransaction>;
  /** A mint as it is finalized; undefined: there is none at this address. */
  mint(mint: string): Promise<MintAccount | undefined>;
  /** The associated token account of an owner, and whether it exists. */
  tokenAccount(owner: string, mint: string): Promise<{ readonly address: string; readonly exists: boolean }>;
}

export class ChainError extends Error {
  override readonly name = "ChainError";
}
