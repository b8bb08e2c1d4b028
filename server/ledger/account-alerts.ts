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
  /** In the place of earlier ones. `keep` leaves the webhook that is there, and lets a suspended one try again. Durable. */
  setAlertSettings(
    account: string,
    wishes: AlertWishes,
    webhook: AccountWebhook | "keep" | "none",
  ): Promise<"stored" | "not_found">;
  alertSettings(account: string): Promise<AlertSettings | undefined>;
  /** False: there are none. What was recorded stays. Durable. */
  deleteAlertSettings(account: string): Promise<boolean>;
  /** Another secret for the webhook that is there; false: there is none. Durable. */
  replaceAlertSecret(account: string, secret: Omit<AccountWebhook, "url">): Promise<boolean>;
  /** What was recorded, newest first. */
  accountAlerts(account: string): Promise<readonly AccountAlert[]>;
  /** Leases alerts that are due, each with the webhook as it is now: nobody else gets them for `leaseMs`. Those without one are skipped. */
  takeAccountAlerts(limit: number, leaseMs: number): Promise<readonly DueAccountAlert[]>;
  /** Told, or given up. One that has ended, or was dropped, stays as it is. */
  endAccountAlert(id: number, outcome: "delivered" | "failed"): Promise<void>;
  /** Due again in `delayMs`. */
  postponeAccountAlert(id: number, delayMs: number): Promise<void>;
}
