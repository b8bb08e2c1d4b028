import type Database from "better-sqlite3";
import type { PaymentRecord, Verdict } from "./ledger.ts";
import { createCrediter } from "./sqlite-accounts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createStrike, PAYMENT_COLUMNS, type PaymentRow, selectPayment } from "./sqlite-rows.ts";
import { isLeased, toRecord } from "./stored-payment.ts";

/**
 * The steps of whoever cleans up: the reconciler that asks the chain, and the sweep of settled payments nobody came
 * back for.
 */
export function createReconcile(
  db: Database.Database,
): Pick<Handlers, "takeUndecided" | "decide" | "listUndecided" | "takeAbandoned"> {
  const select = selectPayment(db);
  const take = db.prepare<[number, bigint, number, number], PaymentRow>(
    `UPDATE payment SET fence = fence + 1, lease_until = ?, claim_height = coalesce(claim_height, ?),
       reason = CASE state WHEN 'settling' THEN 'lease_expired' ELSE reason END,
       watched = CASE state WHEN 'settling' THEN 0 ELSE watched END,
       identifier = CASE state WHEN 'open' THEN NULL ELSE identifier END,
       state = CASE state WHEN 'settling' THEN 'unknown' WHEN 'open' THEN 'released' ELSE state END, updated_at = ?
     WHERE seq = ? RETURNING ${PAYMENT_COLUMNS}`,
  );
  // The condition of the index payment_undecided, word for word, or the planner does not use it.
  const list = db.prepare<[number, number], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment WHERE (state IN ('settling', 'unknown') OR watched = 1)
     AND coalesce(lease_until, 0) <= ? ORDER BY watched, updated_at LIMIT ?`,
  );
  const abandoned = db.prepare<[number, number, number], PaymentRow>(
    `UPDATE payment SET fence = fence + 1, lease_until = ? WHERE seq IN (
       SELECT seq FROM payment WHERE state = 'settled' AND coalesce(lease_until, updated_at) <= ?
       ORDER BY coalesce(lease_until, updated_at) LIMIT ?)
     RETURNING ${PAYMENT_COLUMNS}`,
  );

  return {
    takeUndecided(now, id, height, leaseMs) {
      const row = select.get(id);
      if (row === undefined || isLeased(row, now)) return "lost";
      if (row.state !== "unknown" && row.state !== "settling" && row.watched === 0) return "lost";
      const taken = take.get(now + leaseMs, height, now, row.seq);
      return taken === undefined ? "lost" : { fence: taken.fence, record: toRecord(taken, now) };
    },

    decide: createDecide(db),

    /** Oldest = longest unchanged: one that was asked about and stays undecided goes to the end of the list. */
    listUndecided(now, limit): readonly PaymentRecord[] {
      return list.all(now, limit).map((row) => toRecord(row, now));
    },

    /** A dropped lease counts as dead from the moment it was dropped. */
    takeAbandoned(now, idleMs, leaseMs, limit): readonly PaymentRecord[] {
      return abandoned.all(now + leaseMs, now - idleMs, limit).map((row) => toRecord(row, now));
    },
  };
}

function createDecide(db: Database.Database): Handlers["decide"] {
  const taken = db.prepare<[string, number], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment WHERE id = ? AND fence = ? AND lease_until IS NOT NULL
     AND (state = 'unknown' OR (state = 'released' AND watched = 1))`,
  );
  const settle = db.prepare<[string, number, number]>(
    `UPDATE payment SET state = 'settled', tx = ?, reason = NULL, lease_until = NULL, updated_at = ? WHERE seq = ?`,
  );
  const landedLate = db.prepare<[string, number, number]>(
    `UPDATE payment SET state = 'credited', tx = ?, watched = 0, lease_until = NULL, updated_at = ? WHERE seq = ?`,
  );
  const release = db.prepare<[string, number, number]>(
    `UPDATE payment SET state = 'released', reason = ?, identifier = NULL, lease_until = NULL, updated_at = ? WHERE seq = ?`,
  );
  const endWatch = db.prepare<[number, number]>(
    "UPDATE payment SET watched = 0, lease_until = NULL, updated_at = ? WHERE seq = ?",
  );
  const drop = db.prepare<[number, number]>(
    "UPDATE payment SET lease_until = NULL, updated_at = ? WHERE seq = ?",
  );
  const credit = createCrediter(db);
  const strike = createStrike(db);

  function apply(now: number, row: PaymentRow, verdict: Verdict, strikeMs: number): void {
    const unknown = row.state === "unknown";
    switch (verdict.verdict) {
      case "undecided":
        drop.run(now, row.seq);
        return;
      case "absent":
        if (unknown) {
          release.run(verdict.reason, now, row.seq);
          strike(now, row.payer, strikeMs);
        } else endWatch.run(now, row.seq);
        return;
      case "settled":
        if (unknown) {
          settle.run(verdict.transaction, now, row.seq);
          return;
        }
        landedLate.run(verdict.transaction, now, row.seq);
        credit(now, row);
    }
  }

  return (now, id, fence, verdict, strikeMs) => {
    const row = taken.get(id, fence);
    if (row === undefined) return "lost";
    apply(now, row, verdict, strikeMs);
    return "ok";
  };
}
