import type Database from "better-sqlite3";
import {
  type AccountAlert,
  type AccountAlertLedger,
  ALERTS_AN_HOUR,
  type AlertSettings,
  type AlertWishes,
  MAX_ACCOUNT_ALERTS,
  MAX_FAILURES,
} from "./account-alerts.ts";
import type { Alert } from "./account-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

const HOUR_MS = 3_600_000;

interface SettingsRow {
  readonly low_balance: string | null;
  readonly key_80: 0 | 1;
  readonly key_100: 0 | 1;
  readonly url: string | null;
  readonly master_key: string | null;
  readonly sealed: Uint8Array | null;
  readonly webhook_at: number | null;
  readonly failures: number;
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
  readonly delivery: AccountAlert["delivery"];
}

const ALERT_COLUMNS = `id, kind, account, key, key_label, CAST(amount AS TEXT) AS amount,
  CAST(threshold AS TEXT) AS threshold, at, attempt, delivery`;

function selectSettings(db: Database.Database): (account: string) => SettingsRow | undefined {
  const select = db.prepare<[string], SettingsRow>(
    `SELECT CAST(low_balance AS TEXT) AS low_balance, key_80, key_100, url, master_key, sealed, webhook_at, failures
     FROM alert_settings WHERE account = ?`,
  );
  return (account) => select.get(account);
}

/** Records what accounts asked to be told of, in the step that crosses. */
export interface AccountAlertWriter {
  /** Undefined: this account asked for nothing. */
  wishesOf(account: string): AlertWishes | undefined;
  write(alert: Omit<Alert, "id" | "attempt">): void;
}

export function createAccountAlertWriter(db: Database.Database): AccountAlertWriter {
  const settingsOf = selectSettings(db);
  const insert = db.prepare<[string, string, string | null, string | null, bigint, bigint, number, string]>(
    `INSERT INTO account_alert (kind, account, key, key_label, amount, threshold, at, delivery)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  // Whose turn is set already is telling another, or waits to.
  const queue = db.prepare<[string, number]>(
    "INSERT OR IGNORE INTO account_alert_turn (account, at) VALUES (?, ?)",
  );
  const nth = db
    .prepare<[string], number>(
      `SELECT at FROM account_alert WHERE account = ? ORDER BY id DESC LIMIT 1 OFFSET ${ALERTS_AN_HOUR - 1}`,
    )
    .pluck();
  const drop = db.prepare<[{ readonly account: string }]>(
    `DELETE FROM account_alert WHERE account = :account AND id <=
       (SELECT id FROM account_alert WHERE account = :account ORDER BY id DESC LIMIT 1 OFFSET ${MAX_ACCOUNT_ALERTS})`,
  );
  return {
    wishesOf(account) {
      const row = settingsOf(account);
      return row === undefined ? undefined : toWishes(row);
    },
    write({ kind, account, keyId, keyLabel, amount, threshold, at }) {
      const row = settingsOf(account);
      const hasMany = (nth.get(account) ?? Number.NEGATIVE_INFINITY) > at - HOUR_MS;
      const isHeld = hasMany || (row?.failures ?? 0) >= MAX_FAILURES;
      const delivery = row?.url == null ? "none" : isHeld ? "skipped" : "pending";
      insert.run(kind, account, keyId ?? null, keyLabel ?? null, amount, threshold, at, delivery);
      if (delivery === "pending") queue.run(account, at);
      drop.run({ account });
    },
  };
}

/** The settings of accounts, and what tells of their alerts. */
export function createAccountAlerts(db: Database.Database): Pick<Handlers, keyof AccountAlertLedger> {
  return { ...createSettings(db), ...createDeliveries(db) };
}

function createSettings(
  db: Database.Database,
): Pick<
  Handlers,
  | "setAlertSettings"
  | "alertSettings"
  | "deleteAlertSettings"
  | "replaceAlertSecret"
  | "resumeAlerts"
  | "accountAlerts"
> {
  const settingsOf = selectSettings(db);
  const hasAccount = db.prepare<[string], number>("SELECT 1 FROM account WHERE id = ?").pluck();
  const setWishes = db.prepare<[string, bigint | null, number, number]>(
    `INSERT INTO alert_settings (account, low_balance, key_80, key_100) VALUES (?, ?, ?, ?)
     ON CONFLICT (account) DO UPDATE SET low_balance = excluded.low_balance, key_80 = excluded.key_80,
       key_100 = excluded.key_100`,
  );
  const setWebhook = db.prepare<[string | null, string | null, Uint8Array | null, number | null, string]>(
    "UPDATE alert_settings SET url = ?, master_key = ?, sealed = ?, webhook_at = ?, failures = 0 WHERE account = ?",
  );
  const setSecret = db.prepare<[string, Uint8Array, string]>(
    "UPDATE alert_settings SET master_key = ?, sealed = ?, failures = 0 WHERE account = ? AND url IS NOT NULL",
  );
  const resume = db.prepare<[string]>("UPDATE alert_settings SET failures = 0 WHERE account = ?");
  const remove = db.prepare<[string]>("DELETE FROM alert_settings WHERE account = ?");
  const list = db.prepare<[string], AlertRow>(
    `SELECT ${ALERT_COLUMNS} FROM account_alert WHERE account = ? ORDER BY id DESC`,
  );
  return {
    setAlertSettings(now, account, { lowBalance, keyLimit80, keyLimit100 }, webhook) {
      if (hasAccount.get(account) === undefined) return "not_found";
      setWishes.run(account, lowBalance ?? null, keyLimit80 ? 1 : 0, keyLimit100 ? 1 : 0);
      if (webhook === "none") setWebhook.run(null, null, null, null, account);
      else if (webhook !== "keep")
        setWebhook.run(webhook.url, webhook.masterKeyId, webhook.sealed, now, account);
      return "stored";
    },
    alertSettings(_now, account) {
      const row = settingsOf(account);
      return row === undefined ? undefined : toSettings(row);
    },
    deleteAlertSettings: (_now, account) => remove.run(account).changes === 1,
    replaceAlertSecret: (_now, account, { masterKeyId, sealed }) =>
      setSecret.run(masterKeyId, sealed, account).changes === 1,
    resumeAlerts(_now, account) {
      resume.run(account);
    },
    accountAlerts: (_now, account) =>
      list.all(account).map((row) => ({ ...toAlert(row), delivery: row.delivery })),
  };
}

function createDeliveries(
  db: Database.Database,
): Pick<Handlers, "takeAccountAlerts" | "endAccountAlert" | "postponeAccountAlert"> {
  const settingsOf = selectSettings(db);
  const due = db
    .prepare<[number, number], string>(
      "SELECT account FROM account_alert_turn WHERE at <= ? ORDER BY at, account LIMIT ?",
    )
    .pluck();
  const oldest = db.prepare<[string], AlertRow>(
    `SELECT ${ALERT_COLUMNS} FROM account_alert WHERE account = ? AND delivery = 'pending' ORDER BY id LIMIT 1`,
  );
  const skip = db.prepare<[string]>(
    "UPDATE account_alert SET delivery = 'skipped' WHERE account = ? AND delivery = 'pending'",
  );
  const delay = db.prepare<[number, string]>("UPDATE account_alert_turn SET at = ? WHERE account = ?");
  const leave = db.prepare<[string]>("DELETE FROM account_alert_turn WHERE account = ?");
  const countTry = db.prepare<[number]>("UPDATE account_alert SET attempt = attempt + 1 WHERE id = ?");
  const end = db
    .prepare<[string, number], string>(
      "UPDATE account_alert SET delivery = ? WHERE id = ? AND delivery = 'pending' RETURNING account",
    )
    .pluck();
  const accountOf = db
    .prepare<[number], string>("SELECT account FROM account_alert WHERE id = ? AND delivery = 'pending'")
    .pluck();
  const succeed = db.prepare<[string]>("UPDATE alert_settings SET failures = 0 WHERE account = ?");
  const fail = db.prepare<[string]>("UPDATE alert_settings SET failures = failures + 1 WHERE account = ?");
  return {
    takeAccountAlerts: (now, limit, leaseMs) =>
      due.all(now, limit).flatMap((account) => {
        const row = oldest.get(account);
        const settings = settingsOf(account);
        const webhook = settings === undefined ? undefined : toSettings(settings).webhook;
        if (row === undefined || webhook === undefined || webhook.failures >= MAX_FAILURES) {
          skip.run(account);
          leave.run(account);
          return [];
        }
        delay.run(now + leaseMs, account);
        countTry.run(row.id);
        const { url, masterKeyId, sealed } = webhook;
        return [{ ...toAlert(row), attempt: row.attempt + 1, webhook: { url, masterKeyId, sealed } }];
      }),
    endAccountAlert(now, id, outcome) {
      const account = end.get(outcome, id);
      if (account === undefined) return;
      (outcome === "delivered" ? succeed : fail).run(account);
      delay.run(now, account);
    },
    postponeAccountAlert(now, id, delayMs) {
      const account = accountOf.get(id);
      if (account !== undefined) delay.run(now + delayMs, account);
    },
  };
}

function toWishes({ low_balance, key_80, key_100 }: SettingsRow): AlertWishes {
  return {
    lowBalance: low_balance === null ? undefined : BigInt(low_balance),
    keyLimit80: key_80 === 1,
    keyLimit100: key_100 === 1,
  };
}

function toSettings(row: SettingsRow): AlertSettings {
  const { url, master_key, sealed, webhook_at, failures } = row;
  if (url === null || master_key === null || sealed === null || webhook_at === null) {
    return { ...toWishes(row), webhook: undefined };
  }
  return {
    ...toWishes(row),
    webhook: { url, masterKeyId: master_key, sealed, createdAt: webhook_at, failures },
  };
}

function toAlert({ id, kind, account, key, key_label, amount, threshold, at }: AlertRow) {
  return {
    id,
    kind,
    account,
    keyId: key ?? undefined,
    keyLabel: key_label ?? undefined,
    amount: BigInt(amount),
    threshold: BigInt(threshold),
    at,
  };
}
