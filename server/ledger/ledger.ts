import type { MicroUsd } from "../money.ts";
import type { AccountAlertLedger } from "./account-alerts.ts";
import type { AccountLedger } from "./account-ledger.ts";
import type { CallLedger, UsageFacts } from "./call-ledger.ts";
import type { ExportLedger } from "./export-ledger.ts";
import type { KeepResponse, SealedResponse } from "./sealed-response.ts";
import type { SessionLedger } from "./session-ledger.ts";

/**
 * What must never be lost. Every method is one atomic step; callers never combine two reads and a write.
 *
 * Time is the store's clock: leases and expiries are given as durations (ms) and compared inside the step.
 * Durable methods resolve only after the change survives a power cut; the others may be lost in a crash, by design.
 * A method rejects only with {@link LedgerFault}: the outcome is then unknown and nothing may be served.
 */
export class LedgerFault extends Error {
  override readonly name = "LedgerFault";
}

/**
 * `open` -> `settling` -> `settled` -> `delivered` | `credited`; `settling` -> `unknown` -> `settled` | `released`;
 * `open` -> `released`. Owed and credited are one atomic step, because the payer's wallet account is on the payer's slot.
 */
export type PaymentState =
  | "open"
  | "settling"
  | "unknown"
  | "settled"
  | "delivered"
  | "credited"
  | "released";

/** A keyless payment. Identified by the SHA-256 (hex) of its transaction's message bytes. */
export interface PaymentRecord {
  readonly id: string;
  readonly state: PaymentState;
  /** 1 at the first claim; grows with every further claim or takeover. A change names the fence it holds and is refused with any other. */
  readonly fence: number;
  /** SHA-256 (hex) of method, path, query and body. */
  readonly fingerprint: string;
  /** Wallet that signed, base58. */
  readonly payer: string;
  /** The account that a credit goes to; undefined: `wallet:<payer>`. Of a credited record: where it went. */
  readonly beneficiary: string | undefined;
  /** What it is worth here: what a credit of it comes to. */
  readonly amount: MicroUsd;
  /** The mint that moves, base58. */
  readonly asset: string;
  /** How much of it moves, atomic units. In USDC the same as `amount`; in another token, what the terms bound to `amount`. */
  readonly assetAmount: bigint;
  readonly payTo: string;
  /** CAIP-2. */
  readonly network: string;
  readonly x402Version: 1 | 2;
  /** `METHOD /pattern`, for people. */
  readonly route: string;
  /** It buys credit (`POST /topup`, `POST /keys`), so its credit is no debt: the journal's entry is a `topup`. */
  readonly isTopUp: boolean;
  /** The transaction's memo, by which it is found on the chain; empty if it has none. */
  readonly memo: string;
  /** The feePayer it names, hence its facilitator. */
  readonly feePayer: string;
  /** Upper bound of the chain's block height at the claim; undefined: not known then, stamped by the first reconcile. */
  readonly claimHeight: bigint | undefined;
  /** Transaction id, once known. */
  readonly transaction: string | undefined;
  /** Why it is released, unknown or credited: one of our own words or the facilitator's reason. */
  readonly reason: string | undefined;
  /**
   * It was released after `/settle` was sent, or after a failed simulation, and may land after all: the chain is asked until
   * it has expired. Claiming it anew keeps the watch; settling it ends it.
   */
  readonly watched: boolean;
  /** The lease still runs: some gateway is working on it. */
  readonly leased: boolean;
  /** Its client left after settling began: a newly signed payment for the same request is its retry, not another call. */
  readonly orphaned: boolean;
  /** How often it was taken to be served after it had settled. */
  readonly servings: number;
  /** Milliseconds since 1970, store's clock. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** The account that a payment's credit goes to, or went to. */
export function creditedAccount({
  beneficiary,
  payer,
}: Pick<PaymentRecord, "beneficiary" | "payer">): string {
  return beneficiary ?? `wallet:${payer}`;
}

export interface ClaimRequest {
  readonly id: string;
  readonly fingerprint: string;
  readonly payer: string;
  /** See {@link PaymentRecord.amount}. */
  readonly amount: MicroUsd;
  readonly asset: string;
  readonly assetAmount: bigint;
  readonly payTo: string;
  readonly network: string;
  readonly x402Version: 1 | 2;
  readonly route: string;
  readonly isTopUp: boolean;
  readonly memo: string;
  readonly feePayer: string;
  readonly claimHeight: bigint | undefined;
  /** See {@link PaymentRecord.beneficiary}. */
  readonly beneficiary: string | undefined;
  /** SHA-256 (hex) of payer and payment-identifier, when the client sent one. */
  readonly identifierHash: string | undefined;
  /** False: answer from what is recorded, but open nothing new (the payment does not match today's terms). */
  readonly admitNew: boolean;
  readonly leaseMs: number;
  /** Most payments of one payer that are not settled: `open` or `settling` with a live lease, or `unknown`. */
  readonly maxInFlight: number;
}

/**
 * What a claim came to, in the order in which the step looks:
 * 1. the record of this id (one that is released, or open with a dead lease, passes the checks of a new one; `resumed` if settled with a
 *    dead lease and the same fingerprint: serve it, settle nothing);
 * 2. the payer's identifier (`identifier_*`), 3. the payer's twin, 4. `not_admitted`, 5. the cap, 6. a new record.
 * Race: of any number of concurrent claims of one id, one is `claimed` or `resumed`; the others see its lease.
 */
export type ClaimOutcome =
  | {
      readonly outcome: "claimed";
      readonly fence: number;
      readonly upfront: boolean;
      /** The record's. */
      readonly createdAt: number;
    }
  | {
      readonly outcome: "resumed";
      readonly fence: number;
      readonly record: PaymentRecord;
      readonly response: SealedResponse | undefined;
    }
  /** A live lease: somebody else works on it. */
  | { readonly outcome: "in_progress"; readonly record: PaymentRecord }
  /**
   * Recorded for another fingerprint: open, settling or settled with a live lease, settled with a dead one, or delivered.
   * (`undecided` and `credited` are the same for any fingerprint.)
   */
  | { readonly outcome: "used"; readonly record: PaymentRecord }
  | {
      readonly outcome: "delivered";
      readonly record: PaymentRecord;
      readonly response: SealedResponse | undefined;
    }
  /** `unknown`, or `settling` with a dead lease: ask the chain first. */
  | { readonly outcome: "undecided"; readonly record: PaymentRecord }
  | { readonly outcome: "credited"; readonly record: PaymentRecord }
  /** It was delivered or credited long ago, and its record is trimmed: nothing is served and nothing claimed. */
  | { readonly outcome: "trimmed" }
  /** Same payer and identifier, other fingerprint. */
  | { readonly outcome: "identifier_conflict"; readonly record: PaymentRecord }
  /** Same payer, identifier and request, recorded under another payment: treat that record instead. */
  | {
      readonly outcome: "identifier_replay";
      readonly record: PaymentRecord;
      readonly response: SealedResponse | undefined;
    }
  /**
   * Same payer and request under another payment that is a twin ({@link Ledger.beginSettle}), or that stood in for this one
   * ({@link Ledger.resume}) and may have any state since. `response` is the other's.
   */
  | {
      readonly outcome: "twin";
      readonly record: PaymentRecord;
      readonly response: SealedResponse | undefined;
    }
  | { readonly outcome: "not_admitted" }
  | { readonly outcome: "too_many_in_flight" };

/** A transfer that the chain shows as finalized and that no call of ours has used. Its payer is who signed it. */
export type UnservedTransfer = Pick<
  PaymentRecord,
  "id" | "payer" | "amount" | "asset" | "assetAmount" | "payTo" | "network" | "memo" | "feePayer"
> & {
  readonly transaction: string;
  /** Becomes the record's reason. */
  readonly reason: string;
};

/**
 * `credited`: the money is on `wallet:<payer>` now. `repeated`: it was there already. `recorded`: a record of this payment
 * is in another state than those a transfer may be credited from, or was trimmed; nothing changed.
 */
export type TransferCredit = "credited" | "repeated" | "recorded";

/** One page of all payment records. */
export interface PaymentPage {
  readonly records: readonly PaymentRecord[];
  /** Give this to get the page after; undefined: that was the last one. Opaque, and of the store's own form. */
  readonly next: string | undefined;
}

/** `lost`: the record is not in the expected state with this fence. Whoever hears it must change nothing and serve nothing new. */
export type Step = "ok" | "lost";

/** Keyless payments, accounts and keys, keyed calls, and sign-ins: one store, so that what belongs together is one step. */
export interface Ledger extends AccountLedger, AccountAlertLedger, CallLedger, ExportLedger, SessionLedger {
  /** Looks up and claims; see {@link ClaimOutcome}. Not durable. */
  claim(request: ClaimRequest): Promise<ClaimOutcome>;
  /**
   * Takes over one named record that is `settled` with a dead lease and this fingerprint, to serve the call of another payment
   * of the same payer. `standsInFor` is that one's id: it is remembered as long as the record, so that the other is answered
   * `twin` from then on and never settles for this request.
   */
  resume(
    id: string,
    fingerprint: string,
    leaseMs: number,
    standsInFor: string,
  ): Promise<{ readonly fence: number; readonly record: PaymentRecord } | "lost">;
  /** Prolongs the leases of running calls; returns the ids that are lost. Not durable. */
  renew(
    leases: readonly { readonly id: string; readonly fence: number }[],
    leaseMs: number,
  ): Promise<readonly string[]>;
  /**
   * open -> settling. Durable: written before `/settle` is sent. `twin`: nothing changed, since another payment of the
   * same payer for the same request is undecided, or settled and undelivered and nobody works on it, or orphaned, or stood in
   * for this one. It may have become so after this one was claimed.
   */
  beginSettle(id: string, fence: number, leaseMs: number): Promise<Step | "twin">;
  /** settling | settled: the client is gone. Not durable. */
  orphan(id: string, fence: number): Promise<Step>;
  /** settling -> settled. Keeps the response, if it is whole by then. Durable before the first byte leaves. */
  settled(id: string, fence: number, transaction: string, keep: KeepResponse | undefined): Promise<Step>;
  /** settling -> unknown. Durable. Drops the lease. `transaction` is the facilitator's hint, if it gave one. */
  unknown(id: string, fence: number, reason: string, transaction: string | undefined): Promise<Step>;
  /** open | settling -> released. Durable when `watched`; a watch that was begun goes on. `strike`: the payer gets upfront terms for `strikeMs`. */
  release(
    id: string,
    fence: number,
    release: { readonly reason: string; readonly watched: boolean; readonly strikeMs: number },
  ): Promise<Step>;
  /** settled -> delivered. Keeps the response and writes the usage record, if given. Durable but need not be awaited. */
  deliver(
    id: string,
    fence: number,
    keep: KeepResponse | undefined,
    usage?: { readonly facts: UsageFacts; readonly charged: MicroUsd } | undefined,
  ): Promise<Step>;
  /** Stays settled, lease dropped: the client left before the first byte. Keeps the response if given. Durable. */
  park(id: string, fence: number, keep: KeepResponse | undefined): Promise<Step>;
  /**
   * settled -> credited, and the amount onto the beneficiary's account, once, under the reference `payment:<id>`. Durable. If
   * there is no such account (any more), `wallet:<payer>` gets it, and the record says so.
   * Race: a beneficiary in another shard is credited before the record says so. Until then the record stays settled, and whoever
   * credits it next finds the reference there.
   */
  credit(id: string, fence: number, reason: string): Promise<Step>;
  /**
   * Single flight for the reconciler: leases a record that is `unknown`, `settling` with a dead lease (it becomes
   * `unknown`), or watched and without a live lease (an open one becomes `released`). `lost` if another has it or it is decided. Stamps `claimHeight` if it had none.
   */
  takeUndecided(
    id: string,
    height: bigint,
    leaseMs: number,
  ): Promise<{ readonly fence: number; readonly record: PaymentRecord } | "lost">;
  /**
   * The chain's verdict on a record taken by `takeUndecided`; drops the lease. Durable.
   * `settled`: unknown -> settled; a watched one -> credited ({@link Ledger.credit}). `absent`: unknown -> released; watched -> no longer
   * watched. `undecided`: only the lease is dropped. With `absent` of an unknown one its payer gets
   * upfront terms for `strikeMs`: what the upstream did for it was for nothing.
   */
  decide(id: string, fence: number, verdict: Verdict, strikeMs: number): Promise<Step>;
  /** Records that need the reconciler: undecided ones, then watched ones, without a lease; those longest unchanged first. */
  listUndecided(limit: number): Promise<readonly PaymentRecord[]>;
  /** Settled with a dead lease for longer than `idleMs`: nobody came back for them; they are to be credited. Takes each (new fence). */
  takeAbandoned(idleMs: number, leaseMs: number, limit: number): Promise<readonly PaymentRecord[]>;
  /** `payer`, where it is known, spares Redis the search; a wrong one finds nothing. */
  payment(id: string, payer?: string): Promise<PaymentRecord | undefined>;
  /**
   * All payment records, page by page, in the store's own order; `after` is the `next` of the page before, undefined for the
   * first. A page has about `limit` records, and may have none though it is not the last.
   * Race: a record that was there when the walk began is in it at least once (twice is allowed), as it is when its page is
   * read; one that was made meanwhile may be missing.
   */
  payments(after: string | undefined, limit: number): Promise<PaymentPage>;
  /**
   * Credits a transfer that landed without a served call to `wallet:<payer>`, once. Durable. Without a record of this id one
   * is made that is `credited` from the start (fence 1, version 2, fingerprint and route empty, no claim height); one that is
   * `released`, or `open`, and has no live lease becomes `credited`: its own amount, payer and beneficiary count, its fence grows by 1, the
   * watch and its identifier end. The journal's entry has the kind and reference of {@link Ledger.credit}, so that neither can
   * follow the other; where it stands already, the record is brought to `credited` all the same and the answer is `repeated`.
   * Race: a claim of the same id comes before and holds a lease (`recorded`), or after and is answered `credited`; the holder
   * of a dead lease is `lost` from then on. Of any number of concurrent calls one is `credited`.
   * Rejects an amount below 1.
   */
  creditTransfer(transfer: UnservedTransfer): Promise<TransferCredit>;
  /** Deletes expired stored responses; returns how many. */
  sweepResponses(): Promise<number>;
  /** Resolves if the ledger can read and write now. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export type Verdict =
  | { readonly verdict: "settled"; readonly transaction: string }
  | { readonly verdict: "absent"; readonly reason: string }
  | { readonly verdict: "undecided"; readonly reason: string };
