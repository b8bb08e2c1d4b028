import type { MicroUsd } from "../money.ts";
import type { Permission, SealedProviderKey } from "./account-ledger.ts";
import type { KeepResponse, SealedResponse } from "./sealed-response.ts";

/** Who pays for a call: a key, by the hash of its secret, or an account that a JWT names. */
export type CallPayer =
  | { readonly kind: "key"; readonly hash: string }
  | { readonly kind: "account"; readonly account: string };

/** Between these two amounts the store may choose: what the call can cost, and the least that is worth admitting it for. */
export interface HoldRange {
  readonly most: MicroUsd;
  /** Equal to `most` where the request fixes its own output limit. At least 0. */
  readonly least: MicroUsd;
}

export interface HoldRequest {
  /** Chosen by the caller, 32 hex digits, and never again after it ended: the idempotency token of this hold and of what ends it. */
  readonly id: string;
  readonly payer: CallPayer;
  readonly permission: Permission;
  /** Public model name and upstream name; undefined where the route has none. */
  readonly model: string | undefined;
  readonly provider: string | undefined;
  readonly range: HoldRange;
  /** Used instead where the account has an own key at `provider`: the platform's fee. */
  readonly ownKeyRange: HoldRange | undefined;
  readonly leaseMs: number;
  /** Of the client's `Idempotency-Key`, scoped to the account by the store. SHA-256 (hex) of the key and of the request. */
  readonly idempotency: { readonly hash: string; readonly fingerprint: string } | undefined;
}

/** Requests of a key in the current minute. */
export interface RateState {
  readonly limit: number;
  readonly remaining: number;
  readonly resetsInMs: number;
}

/** An admitted call. */
export interface Hold {
  readonly id: string;
  readonly account: string;
  readonly keyId: string | undefined;
  readonly keyLabel: string | undefined;
  readonly amount: MicroUsd;
  readonly rate: RateState | undefined;
  /** Set where the call goes out on the account's own key. */
  readonly providerKey: SealedProviderKey | undefined;
}

/**
 * What a hold came to, in the order in which the step looks: the key (`unknown`, `revoked`, `expired`), its permissions, models
 * and providers, the idempotency key, the rate, the concurrency, the key's limit, the account's balance.
 * Only `held` changes anything: requests that were refused, for whatever reason, do not count against the rate.
 */
export type HoldOutcome =
  | { readonly outcome: "held"; readonly hold: Hold }
  | { readonly outcome: "unknown" | "revoked" | "expired" }
  | { readonly outcome: "not_permitted" | "model_not_allowed" | "provider_not_allowed" }
  /** The same idempotency key and request ended before. `response` undefined: it is not stored. */
  | { readonly outcome: "replay"; readonly response: SealedResponse | undefined }
  | { readonly outcome: "in_progress" | "idempotency_conflict" }
  | { readonly outcome: "rate_limited"; readonly rate: RateState }
  | { readonly outcome: "too_many_concurrent"; readonly limit: number }
  /** `needed`: the least of the range that counts here. `affordable`: what a hold could be at most. */
  | {
      readonly outcome: "key_limit_reached";
      readonly needed: MicroUsd;
      readonly affordable: MicroUsd;
      readonly limit: MicroUsd;
      readonly resetsAt: number | undefined;
    }
  | {
      readonly outcome: "insufficient_credits";
      readonly needed: MicroUsd;
      readonly affordable: MicroUsd;
    };

/** One call, as it is billed and looked up later. Prompts and replies are not in it. */
export interface UsageFacts {
  readonly tier: "x402" | "key" | "internal";
  readonly account: string | undefined;
  readonly keyId: string | undefined;
  readonly keyLabel: string | undefined;
  readonly payer: string | undefined;
  /** `METHOD /pattern`. */
  readonly route: string;
  readonly model: string | undefined;
  readonly provider: string | undefined;
  readonly promptTokens: number | undefined;
  readonly completionTokens: number | undefined;
  /** The upstream reported no usage; the tokens are an estimate. */
  readonly estimated: boolean;
  readonly held: MicroUsd;
  /** What the tokens cost at the upstream's price, where the account's own key paid for them. */
  readonly upstreamCost: MicroUsd | undefined;
  /** The status of our answer. */
  readonly status: number | undefined;
  /** The status of the upstream's. Undefined: it gave none, or a handler of an Express app is what was sold. */
  readonly upstreamStatus: number | undefined;
  readonly ms: number;
  readonly transaction: string | undefined;
  /** Why nothing was charged. */
  readonly notCharged: string | undefined;
}

export interface UsageRecord extends UsageFacts {
  readonly id: number;
  /** Milliseconds since 1970, store's clock, at the end of the call. */
  readonly at: number;
  readonly charged: MicroUsd;
}

export interface UsageFilter {
  readonly account?: string | undefined;
  readonly keyId?: string | undefined;
  /** Public name. */
  readonly model?: string | undefined;
  /** Milliseconds since 1970, included. */
  readonly since?: number | undefined;
  /** Records before this id: the next page. */
  readonly before?: number | undefined;
  readonly limit: number;
}

export interface CaptureRequest {
  readonly id: string;
  readonly account: string;
  readonly keyId: string | undefined;
  /** The real cost, at least 0. Never more than the hold is taken. */
  readonly cost: MicroUsd;
  readonly usage: UsageFacts;
  readonly keep: KeepResponse | undefined;
  /** As the hold had it: if the hold was swept and another call took the key over, that one is charged and this one is not. */
  readonly idempotency: HoldRequest["idempotency"];
  /** Below this balance the account's low-balance alert is due. */
  readonly lowBalance: MicroUsd | undefined;
}

export interface CaptureResult {
  readonly outcome: "captured" | "repeated";
  readonly charged: MicroUsd;
  /** What could not be taken, since the hold had been swept and the balance was spent meanwhile. */
  readonly shortfall: MicroUsd;
}

export interface RefundRequest {
  readonly id: string;
  readonly account: string;
  readonly keyId: string | undefined;
  /** Written where the call had no usage record yet. */
  readonly usage: UsageFacts;
}

/**
 * `freed`: nothing had been taken. `answered`: an answer of the call is kept, so its caller's retry is given what was paid for;
 * nothing changed. `refunded`: what was taken is back.
 */
export type RefundOutcome = "freed" | "answered" | "refunded";

/** Keyed calls: hold, then exactly one of capture or release. Rejects only with `LedgerFault`. */
export interface CallLedger {
  /**
   * Admits a call and sets its cost aside. Not durable: nothing is spent yet. Race: of any number of concurrent holds as many
   * are admitted as the balance and the limit can bear. First frees holds of the account whose lease is over.
   */
  hold(request: HoldRequest): Promise<HoldOutcome>;
  /** Prolongs holds of running calls; returns the ids that are gone. Not durable. */
  renewHolds(ids: readonly string[], leaseMs: number): Promise<readonly string[]>;
  /**
   * The hold becomes the debit: journal, key usage, usage record and alerts in one step. Durable. Once for each id. After a
   * sweep it takes what is available and reports the shortfall.
   */
  capture(request: CaptureRequest): Promise<CaptureResult>;
  /** Keeps the answer of a call that was captured before it was whole. Not durable. */
  keepAnswer(holdId: string, keep: KeepResponse): Promise<void>;
  /** Frees the hold and its idempotency key, and writes the usage record. Not durable. `gone`: it ended before. */
  releaseHold(id: string, usage: UsageFacts): Promise<"released" | "gone">;
  /**
   * Undoes what a call was charged that nobody was served, or frees its hold if it was not charged: balance and journal
   * (`refund:<id>`), the key's usage and spending, and its idempotency key, which may be used again. The usage record stays as it
   * was written. Durable. Once for each id; a capture that comes later takes nothing.
   * What was spent in a period of the key's limit that is over by now is taken off the present one, down to 0.
   */
  refund(request: RefundRequest): Promise<RefundOutcome>;
  /** Usage of calls that no hold paid for: `charged` is theirs to say. Not durable. */
  recordUsage(usage: UsageFacts, charged: MicroUsd): Promise<void>;
  /** Newest first; those that were trimmed are not in it. */
  usage(filter: UsageFilter): Promise<readonly UsageRecord[]>;
  /** Frees holds whose lease is over, a bounded number; returns how many. Deletes expired idempotency keys and answers. */
  sweepHolds(): Promise<number>;
}
