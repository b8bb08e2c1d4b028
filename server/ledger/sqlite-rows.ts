import type Database from "better-sqlite3";
import type { PaymentRecord, PaymentState } from "./ledger.ts";
import type { SealedResponse } from "./sealed-response.ts";

/** A payment as it is stored. int64 columns that hold money or heights are read as text, so that none is rounded. */
export interface PaymentRow {
  readonly seq: number;
  readonly id: string;
  readonly state: PaymentState;
  readonly fence: number;
  /** ms since 1970; null: nobody holds it. A lease in the past is dead, but its holder may still act on it. */
  readonly lease_until: number | null;
  readonly fingerprint: string;
  readonly payer: string;
  readonly beneficiary: string | null;
  readonly amount: string;
  readonly asset: string;
  readonly pay_to: string;
  readonly network: string;
  readonly x402_version: 1 | 2;
  readonly route: string;
  readonly memo: string;
  readonly fee_payer: string;
  readonly claim_height: string | null;
  readonly tx: string | null;
  readonly reason: string | null;
  readonly watched: 0 | 1;
  readonly orphaned: 0 | 1;
  readonly servings: number;
  readonly created_at: number;
  readonly updated_at: number;
}

/** The columns of a {@link PaymentRow}, for SELECT and RETURNING. */
export const PAYMENT_COLUMNS = `seq, id, state, fence, lease_until, fingerprint, payer, beneficiary, CAST(amount AS TEXT) AS amount,
  asset, pay_to, network, x402_version, route, memo, fee_payer, CAST(claim_height AS TEXT) AS claim_height, tx, reason,
  watched, orphaned, servings, created_at, updated_at`;

export function isLeased(row: PaymentRow, now: number): boolean {
  return row.lease_until !== null && row.lease_until > now;
}

export function toRecord(row: PaymentRow, now: number): PaymentRecord {
  return {
    id: row.id,
    state: row.state,
    fence: row.fence,
    fingerprint: row.fingerprint,
    payer: row.payer,
    beneficiary: row.beneficiary ?? undefined,
    amount: BigInt(row.amount),
    asset: row.asset,
    payTo: row.pay_to,
    network: row.network,
    x402Version: row.x402_version,
    route: row.route,
    memo: row.memo,
    feePayer: row.fee_payer,
    claimHeight: row.claim_height === null ? undefined : BigInt(row.claim_height),
    transaction: row.tx ?? undefined,
    reason: row.reason ?? undefined,
    watched: row.watched === 1,
    leased: isLeased(row, now),
    orphaned: row.orphaned === 1,
    servings: row.servings,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/**
 * The payment whose place a newly signed one must not take: same payer and request, and its money has moved or may have,
 * without anybody being served. Bound to (payer, fingerprint, own id, now). A settled one can be served at once, so it
 * comes first. The condition begins with that of the index payment_twin.
 */
export function selectTwin(
  db: Database.Database,
): Database.Statement<[string, string, string, number], PaymentRow> {
  return db.prepare(
    `SELECT ${PAYMENT_COLUMNS} FROM payment
     WHERE payer = ? AND fingerprint = ? AND id <> ? AND state IN ('settling', 'unknown', 'settled')
       AND (state = 'unknown' OR coalesce(lease_until, 0) <= ? OR orphaned = 1)
     ORDER BY state = 'settled' DESC, created_at LIMIT 1`,
  );
}

/** Reads one payment by its id. */
export function selectPayment(db: Database.Database): Database.Statement<[string], PaymentRow> {
  return db.prepare(`SELECT ${PAYMENT_COLUMNS} FROM payment WHERE id = ?`);
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
