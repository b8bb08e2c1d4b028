import type Database from "better-sqlite3";
import type { SealedResponse } from "./sealed-response.ts";
import type { StoredPayment } from "./stored-payment.ts";

/** A payment's row. */
export interface PaymentRow extends StoredPayment {
  readonly seq: number;
}

/** The columns of a {@link PaymentRow}, for SELECT and RETURNING. */
export const PAYMENT_COLUMNS = `seq, id, state, fence, lease_until, fingerprint, payer, beneficiary, CAST(amount AS TEXT) AS amount,
  asset, asset_amount, pay_to, network, x402_version, route, topup, memo, fee_payer, CAST(claim_height AS TEXT) AS claim_height, tx, reason,
  watched, orphaned, servings, created_at, updated_at`;

/**
 * Reads the payment whose place this one must not take: the one that stood in for it, or one of the same payer and request
 * whose money has moved or may have, without anybody being served. Of these a settled one can be served at once, so it comes
 * first; the condition begins with that of the index payment_twin.
 */
export function createTwinReader(
  db: Database.Database,
): (now: number, payment: Pick<PaymentRow, "id" | "payer" | "fingerprint">) => PaymentRow | undefined {
  const standIn = db.prepare<[string, string], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment
     WHERE seq = (SELECT payment FROM stand_in WHERE id = ?) AND fingerprint = ?`,
  );
  const twin = db.prepare<[string, string, string, number], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment
     WHERE payer = ? AND fingerprint = ? AND id <> ? AND state IN ('settling', 'unknown', 'settled')
       AND (state = 'unknown' OR coalesce(lease_until, 0) <= ? OR orphaned = 1)
     ORDER BY state = 'settled' DESC, created_at LIMIT 1`,
  );
  return (now, { id, payer, fingerprint }) =>
    standIn.get(id, fingerprint) ?? twin.get(payer, fingerprint, id, now);
}

/** Reads one payment by its id. */
export function selectPayment(db: Database.Database): Database.Statement<[string], PaymentRow> {
  return db.prepare(`SELECT ${PAYMENT_COLUMNS} FROM payment WHERE id = ?`);
}

/** Gives a payer upfront terms for so long; a shorter strike never cuts a longer one, and none is one of 0. */
export function createStrike(db: Database.Database): (now: number, payer: string, strikeMs: number) => void {
  const strike = db.prepare<[string, number]>(
    `INSERT INTO payer (address, upfront_until) VALUES (?, ?)
     ON CONFLICT (address) DO UPDATE SET upfront_until = max(upfront_until, excluded.upfront_until)`,
  );
  return (now, payer, strikeMs) => {
    if (strikeMs > 0) strike.run(payer, now + strikeMs);
  };
}

/** Whether a payment of this id was delivered or credited, and its record trimmed. */
export function createTrimmedReader(db: Database.Database): (id: string) => boolean {
  const select = db.prepare<[string], number>("SELECT 1 FROM trimmed_payment WHERE id = ?").pluck();
  return (id) => select.get(id) !== undefined;
}

/** Reads the stored response of a payment unless it has expired, by the payment's `seq`. */
export function createResponseReader(
  db: Database.Database,
): (row: PaymentRow, now: number) => SealedResponse | undefined {
  const select = db.prepare<[number, number], SealedResponse>(
    "SELECT sealed FROM response WHERE payment = ? AND expires_at > ?",
  );
  return (row, now) => select.get(row.seq, now);
}
