import type Database from "better-sqlite3";
import { createAccountAlerts } from "./sqlite-account-alerts.ts";
import { createAccounts } from "./sqlite-accounts.ts";
import { createAlerts } from "./sqlite-alerts.ts";
import { createCaptures } from "./sqlite-captures.ts";
import { createCheck } from "./sqlite-check.ts";
import { createClaims } from "./sqlite-claims.ts";
import { createExport } from "./sqlite-export.ts";
import { createHolds } from "./sqlite-holds.ts";
import { createKeys } from "./sqlite-keys.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createProviderKeys } from "./sqlite-provider-keys.ts";
import { createReconcile } from "./sqlite-reconcile.ts";
import { createRefunds } from "./sqlite-refunds.ts";
import { selectPayment } from "./sqlite-rows.ts";
import { createSessions } from "./sqlite-sessions.ts";
import { createSteps } from "./sqlite-steps.ts";
import { createTransfers } from "./sqlite-transfers.ts";
import { createTrim } from "./sqlite-trim.ts";
import { toRecord } from "./stored-payment.ts";

/** Responses deleted in one transaction; the caller asks again while it gets this many. */
const SWEEP_BATCH = 500;

/** Every method of the ledger, on one connection; each must run in a transaction of its own or in a savepoint. */
export function createHandlers(db: Database.Database): Handlers {
  const select = selectPayment(db);
  const sweep = db.prepare<[number, number]>(
    `DELETE FROM response WHERE payment IN
       (SELECT payment FROM response WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  const touch = db.prepare<[string]>(
    `INSERT INTO meta (key, value) VALUES ('pinged_at', ?)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
  );
  return {
    ...createClaims(db),
    ...createSteps(db),
    ...createReconcile(db),
    ...createTransfers(db),
    ...createAccounts(db),
    ...createKeys(db),
    ...createHolds(db),
    ...createCaptures(db),
    ...createRefunds(db),
    ...createProviderKeys(db),
    ...createAlerts(db),
    ...createAccountAlerts(db),
    ...createSessions(db),
    ...createCheck(db),
    ...createExport(db),
    ...createTrim(db),
    payment(now, id, payer) {
      const row = select.get(id);
      const isTheirs = row !== undefined && (payer === undefined || row.payer === payer);
      return isTheirs ? toRecord(row, now) : undefined;
    },
    sweepResponses: (now) => sweep.run(now, SWEEP_BATCH).changes,
    ping(now) {
      touch.run(String(now));
    },
  };
}
