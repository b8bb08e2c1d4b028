import type Database from "better-sqlite3";
import type { Alert } from "./account-ledger.ts";
import { createAccountAlertWriter } from "./sqlite-account-alerts.ts";
import { createAlertWriter } from "./sqlite-alerts.ts";

/** A key whose limit is used up. */
export type ReachedLimit = Pick<Alert, "account" | "amount" | "threshold" | "at"> & {
  readonly keyId: string;
  readonly keyLabel: string;
  /** Start of the period in which it is. */
  readonly period: number;
};

/**
 * Tells that a key's limit is used up, the operator and an account that wishes it: when all of it is spent, or a call is refused because the rest
 * is too little for it, whichever is first. Once for each limit and period.
 */
export function createLimitAlerts(db: Database.Database): (reached: ReachedLimit) => void {
  const alert = createAlertWriter(db);
  const own = createAccountAlertWriter(db);
  const mark = db.prepare<[string, number, bigint]>(
    `INSERT INTO limit_told (key, period, spend_limit) VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET period = excluded.period, spend_limit = excluded.spend_limit
     WHERE period <> excluded.period OR spend_limit <> excluded.spend_limit`,
  );
  return ({ period, ...facts }) => {
    if (mark.run(facts.keyId, period, facts.threshold).changes === 0) return;
    const told = { ...facts, kind: "key_limit_100" } as const;
    alert(told);
    if (own.wishesOf(facts.account)?.keyLimit100 === true) own.write(told);
  };
}
