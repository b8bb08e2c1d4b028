import type Database from "better-sqlite3";
import type { Alert } from "./account-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** Records a crossing, in the step that crosses; due at once. */
export function createAlertWriter(db: Database.Database): (alert: Omit<Alert, "id" | "attempt">) => void {
  const insert = db.prepare<[string, string, string | null, string | null, bigint, bigint, number, number]>(
    `INSERT INTO alert (kind, account, key, key_label, amount, threshold, at, due_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return ({ kind, account, keyId, keyLabel, amount, threshold, at }) => {
    insert.run(kind, account, keyId ?? null, keyLabel ?? null, amount, threshold, at, at);
  };
}

interface AlertRow {
  readonly id: number;
  readonly kind: Alert["kind"];
  readonly account: string;
  readonly key: string | null;
  readonly key_label: string | null;
  readonly amount: string;
  readonly threshold: string;
  readonly at: number;
  readonly attempt: number;
}

/** What tells of alerts: leased, ended, put off. */
export function createAlerts(
  db: Database.Database,
): Pick<Handlers, "takeAlerts" | "endAlert" | "postponeAlert"> {
  const take = db.prepare<[number, number, number], AlertRow>(
    `UPDATE alert SET due_at = ?, attempt = attempt + 1
     WHERE id IN (SELECT id FROM alert WHERE due_at <= ? ORDER BY due_at, id LIMIT ?)
     RETURNING id, kind, account, key, key_label, CAST(amount AS TEXT) AS amount,
       CAST(threshold AS TEXT) AS threshold, at, attempt`,
  );
  const end = db.prepare<[number]>("DELETE FROM alert WHERE id = ?");
  const postpone = db.prepare<[number, number]>("UPDATE alert SET due_at = ? WHERE id = ?");
  return {
    takeAlerts: (now, limit, leaseMs) =>
      take.all(now + leaseMs, now, limit).map((row) => ({
        id: row.id,
        kind: row.kind,
        account: row.account,
        keyId: row.key ?? undefined,
        keyLabel: row.key_label ?? undefined,
        amount: BigInt(row.amount),
        threshold: BigInt(row.threshold),
        at: row.at,
        attempt: row.attempt,
      })),
    endAlert(_now, id) {
      end.run(id);
    },
    postponeAlert(now, id, delayMs) {
      postpone.run(now + delayMs, id);
    },
  };
}
