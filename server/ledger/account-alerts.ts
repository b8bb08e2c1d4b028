import type { MicroUsd } from "../money.ts";
import type { Alert } from "./account-ledger.ts";

/** Of what an account wants to be told. */
export interface AlertWishes {
  /** When its balance falls below this; undefined: not of that. */
  readonly lowBalance: MicroUsd | undefined;
  /** When a key of it has spent four fifths, or all, of its limit. */
  readonly keyLimit80: boolean;
  readonly keyLimit100: boolean;
}

/** Where it is told, and the secret that signs what it is told; encrypted (server/provider-keys.ts). */
export interface AccountWebhook {
  readonly url: string;
  /** Which master key sealed it. */
  readonly masterKeyId: string;
  readonly sealed: Uint8Array;
}

export interface AlertSettings extends AlertWishes {
  readonly webhook:
    | (AccountWebhook & {
        /** Milliseconds since 1970. */
        readonly createdAt: number;
        /** Alerts that were given up, one after the other; {@link MAX_FAILURES} suspend it. */
        readonly failures: number;
      })
    | undefined;
}

/**
 * `none`: there was no webhook. `skipped`: it was suspended, taken away before, or told {@link ALERTS_AN_HOUR} times within the hour.
 * `failed`: every try came to nothing.
 */
export const DELIVERIES = ["none", "pending", "delivered", "failed", "skipped"] as const;

/** A threshold that an account asked to be told of, and what became of telling it. */
export interface AccountAlert extends Omit<Alert, "attempt"> {
  readonly delivery: (typeof DELIVERIES)[number];
}

export interface DueAccountAlert extends Alert {
  readonly webhook: AccountWebhook;
}

/** So many are kept for each account; one more drops the oldest. */
export const MAX_ACCOUNT_ALERTS = 50;
export const ALERTS_AN_HOUR = 30;
export const MAX_FAILURES = 3;

/**
 * Alerts that accounts ask for themselves; the operator's ({@link Alert}) are apart from them. They are recorded in the step that
 * crosses, for accounts that have settings; everything an account can make us keep or send is bounded. Rejects only with `LedgerFault`.
 */
export interface AccountAlertLedger {
  /** In the place of earlier ones. `keep` leaves the webhook that is there as it is, also a suspended one. Durable. */
  setAlertSettings(
    account: string,
    wishes: AlertWishes,
    webhook: AccountWebhook | "keep" | "none",
  ): Promise<"stored" | "not_found">;
  alertSettings(account: string): Promise<AlertSettings | undefined>;
  /** False: there are none. What was recorded stays. Durable. */
  deleteAlertSettings(account: string): Promise<boolean>;
  /** Another secret for the webhook that is there, which is active then; false: there is none. Durable. */
  replaceAlertSecret(account: string, secret: Omit<AccountWebhook, "url">): Promise<boolean>;
  /** The webhook was reached: a suspended one is active again. */
  resumeAlerts(account: string): Promise<void>;
  /** What was recorded, newest first. */
  accountAlerts(account: string): Promise<readonly AccountAlert[]>;
  /**
   * Leases the oldest alert of each of so many accounts whose turn it is, with the webhook as it is now. An account is told of one after
   * the other, so a receiver that is slow or dead holds up nobody else's: its next is not due before this one has ended or was put off, or
   * `leaseMs` have passed. Where there is no webhook, or a suspended one, all that wait are skipped.
   */
  takeAccountAlerts(limit: number, leaseMs: number): Promise<readonly DueAccountAlert[]>;
  /** Told, or given up. One that has ended, or was dropped, stays as it is. */
  endAccountAlert(id: number, outcome: "delivered" | "failed"): Promise<void>;
  /** Due again in `delayMs`, and the account's later ones after it. */
  postponeAccountAlert(id: number, delayMs: number): Promise<void>;
}
