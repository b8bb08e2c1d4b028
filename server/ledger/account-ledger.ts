import type { MicroUsd } from "../money.ts";

/** What a key may do. A key never reads usage logs, lists or creates keys, or sees billing, whatever it is permitted. */
export const PERMISSIONS = ["chat:read", "embeddings:read", "models:list", "agent:run"] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** When a key's spend limit starts again: at midnight UTC, on Monday, on the first of the month. */
export const LIMIT_RESETS = ["never", "daily", "weekly", "monthly"] as const;
export type LimitReset = (typeof LIMIT_RESETS)[number];

/** An organisation's prepaid balance. Invariant, under any interleaving: `0 <= held <= balance`. */
export interface AccountRecord {
  /** `acct_…`, or `wallet:<address>`. */
  readonly id: string;
  readonly name: string;
  readonly balance: MicroUsd;
  /** Sum of its open holds. */
  readonly held: MicroUsd;
  /** Milliseconds since 1970, store's clock. */
  readonly createdAt: number;
}

/** Every change of a balance is one entry, written in the same step. */
export interface JournalEntry {
  readonly account: string;
  /** Idempotency: one entry for each (account, reference): `payment:<id>`, `hold:<id>`, `refund:<id>` (of a hold), `credit:<reference>`. */
  readonly reference: string;
  /** `topup`: somebody paid it in. `owed_credit`: a payment that was settled and not served. */
  readonly kind: "owed_credit" | "topup" | "credit" | "capture";
  /** Signed. */
  readonly amount: MicroUsd;
  /** Balance after this entry. */
  readonly balance: MicroUsd;
  readonly at: number;
}

/** One page of a journal, newest first. */
export interface JournalPage {
  readonly entries: readonly JournalEntry[];
  /** Give this as `before` to get the page after; undefined: that was the last one. Opaque, and of the store's own form. */
  readonly next: string | undefined;
}

/** What the operator decides about a key; undefined means: no restriction. */
export interface KeySettings {
  readonly label: string;
  readonly permissions: readonly Permission[];
  /** Public model names. */
  readonly models: readonly string[] | undefined;
  /** Upstream names. */
  readonly providers: readonly string[] | undefined;
  readonly limit: MicroUsd | undefined;
  readonly limitReset: LimitReset;
  /** Requests a minute. */
  readonly rpm: number | undefined;
  /** Calls at once. */
  readonly concurrency: number | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | undefined;
}

/** A key that may do everything its account can pay for. */
export const UNRESTRICTED: Omit<KeySettings, "label"> = {
  permissions: PERMISSIONS,
  models: undefined,
  providers: undefined,
  limit: undefined,
  limitReset: "never",
  rpm: undefined,
  concurrency: undefined,
  expiresAt: undefined,
};

export type KeyStatus = "active" | "revoked" | "expired";

/** A key as people see it. Its secrets are known by their hashes only, and those never leave the store. */
export interface KeyRecord extends KeySettings {
  /** `key_…` */
  readonly id: string;
  readonly account: string;
  /** Of the newest secret. */
  readonly prefix: string;
  readonly last4: string;
  readonly status: KeyStatus;
  readonly createdAt: number;
  readonly lastUsedAt: number | undefined;
  /** Spent since it was created. */
  readonly usage: MicroUsd;
  /** Spent since the limit last started again. */
  readonly spent: MicroUsd;
  readonly held: MicroUsd;
  /** `limit - spent - held`, never below 0; undefined without a limit. */
  readonly limitRemaining: MicroUsd | undefined;
  /** When the limit starts again; undefined if it does not. */
  readonly limitResetsAt: number | undefined;
}

/** A new secret, as the store keeps it. */
export interface NewSecret {
  /** ledger/keys.ts, `hashSecret`; hex. */
  readonly hash: string;
  readonly prefix: string;
  readonly last4: string;
}

/** Makes a repeat of a creation (of one account's keys) or rotation (of one key) harmless. Both are SHA-256 (hex): of the client's key, and of what it asked for. */
export interface Repeatable {
  readonly hash: string;
  readonly fingerprint: string;
}

export type KeyCreation =
  | { readonly outcome: "created"; readonly key: KeyRecord }
  /** The same idempotency key asked for the same before: no second key, and the secret is not shown again. */
  | { readonly outcome: "repeated"; readonly key: KeyRecord }
  | { readonly outcome: "conflict" }
  | { readonly outcome: "not_found" }
  /** Rotation of a key that is revoked or expired. */
  | { readonly outcome: "not_active" };

/** A customer's own upstream key, encrypted (server/provider-keys.ts). */
export interface SealedProviderKey {
  /** Which master key sealed it. */
  readonly masterKeyId: string;
  readonly sealed: Uint8Array;
  readonly last4: string;
}

export interface ProviderKeyRecord {
  readonly account: string;
  readonly provider: string;
  readonly masterKeyId: string;
  readonly last4: string;
  readonly createdAt: number;
}

/** A threshold that was crossed, waiting to be told. Each crossing is recorded once, in the step that crosses it. */
export interface Alert {
  readonly id: number;
  readonly kind: "key_limit_80" | "key_limit_100" | "low_balance";
  readonly account: string;
  readonly keyId: string | undefined;
  readonly keyLabel: string | undefined;
  /** What was spent of the limit, or the balance. */
  readonly amount: MicroUsd;
  /** The limit, or the threshold. */
  readonly threshold: MicroUsd;
  readonly at: number;
  /** Tries so far, this one included. */
  readonly attempt: number;
}

/** One thing that does not add up; `farebox check` prints them. */
export interface Discrepancy {
  readonly account: string;
  readonly keyId: string | undefined;
  readonly problem:
    | "balance_is_not_its_journal"
    | "held_is_not_its_holds"
    | "held_exceeds_balance"
    | "usage_is_not_its_journal";
  readonly recorded: MicroUsd;
  readonly computed: MicroUsd;
}

/** Accounts, keys and what hangs on them. Changes are durable. Rejects only with `LedgerFault`. */
export interface AccountLedger {
  /** `exists`: an account of this id is there already; nothing changed. */
  createAccount(id: string, name: string): Promise<"created" | "exists">;
  accounts(): Promise<readonly AccountRecord[]>;
  account(id: string): Promise<AccountRecord | undefined>;
  /** Zero for an account nobody wrote to. */
  balance(account: string): Promise<MicroUsd>;
  /** Oldest first; those that were trimmed are not in it. */
  journal(account: string): Promise<readonly JournalEntry[]>;
  /** Newest first, at most `limit`; `before` is the `next` of the page before, undefined for the first. One that is no `next` of this store finds nothing. */
  journalPage(account: string, before: string | undefined, limit: number): Promise<JournalPage>;
  /**
   * The same of those entries alone that a payment by wallet wrote (`payment:<id>`). A page may have fewer than `limit`, or none, though
   * it is not the last: a store looks through a bounded part of a journal at a time.
   */
  paidInPage(account: string, before: string | undefined, limit: number): Promise<JournalPage>;
  /**
   * Adds money (at least 1), once for each (account, reference). `repeated`: the same amount under this reference is there already;
   * `conflict`: another amount is.
   */
  creditAccount(
    account: string,
    amount: MicroUsd,
    reference: string,
  ): Promise<{
    readonly outcome: "credited" | "repeated" | "conflict" | "not_found";
    readonly balance: MicroUsd;
  }>;

  createKey(
    id: string,
    account: string,
    secret: NewSecret,
    settings: KeySettings,
    repeatable: Repeatable | undefined,
  ): Promise<KeyCreation>;
  /** Of one account, or all; newest first. */
  keys(account: string | undefined): Promise<readonly KeyRecord[]>;
  key(id: string): Promise<KeyRecord | undefined>;
  /**
   * The key whose secret this is. `unknown` also for a rotated secret whose grace is over. A revoked or expired key is returned
   * with its status. Reads the state that {@link CallLedger.hold} enforces.
   */
  keyBySecret(
    hash: string,
  ): Promise<{ readonly key: KeyRecord; readonly account: AccountRecord } | "unknown">;
  /** For ever; repeating it changes nothing. */
  revokeKey(id: string): Promise<KeyRecord | undefined>;
  /** A new secret beside the old ones, which end after `graceMs` (or sooner, if they were to). */
  rotateKey(
    id: string,
    secret: NewSecret,
    graceMs: number,
    repeatable: Repeatable | undefined,
  ): Promise<KeyCreation>;
  /** Replaces the settings that are given. Spending that exceeds a lowered limit stays spent. */
  changeKey(id: string, change: Partial<KeySettings>): Promise<KeyRecord | undefined>;

  /** Of the pepper under which keys are looked up (`pepperMark` in ledger/keys.ts); undefined: nobody has left one. */
  pepperMark(): Promise<string | undefined>;
  setPepperMark(mark: string): Promise<void>;

  /** In the place of an earlier one. */
  setProviderKey(account: string, provider: string, key: SealedProviderKey): Promise<"stored" | "not_found">;
  deleteProviderKey(account: string, provider: string): Promise<boolean>;
  providerKeys(account: string): Promise<readonly ProviderKeyRecord[]>;

  /** Leases alerts that are due: nobody else gets them for `leaseMs`. */
  takeAlerts(limit: number, leaseMs: number): Promise<readonly Alert[]>;
  /** Told, or given up. */
  endAlert(id: number): Promise<void>;
  /** Due again in `delayMs`. */
  postponeAlert(id: number, delayMs: number): Promise<void>;

  /** Recomputes balances, holds and key usage. */
  checkAccounts(): Promise<readonly Discrepancy[]>;
}
