import type Database from "better-sqlite3";
import type { PaymentPage, TransferCredit, UnservedTransfer } from "./ledger.ts";
import { createCrediter } from "./sqlite-accounts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createTrimmedReader, PAYMENT_COLUMNS, type PaymentRow, selectPayment } from "./sqlite-rows.ts";
import { isLeased, storedAssetAmount, toRecord } from "./stored-payment.ts";

/** What the comparison with the chain needs: a walk over all records, and the credit of a transfer nobody was served for. */
export function createTransfers(db: Database.Database): Pick<Handlers, "payments" | "creditTransfer"> {
  const page = db.prepare<[number, number], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment WHERE seq > ? ORDER BY seq LIMIT ?`,
  );
  return {
    payments(now, after, limit): PaymentPage {
      const rows = page.all(Number(after ?? 0), limit);
      const last = rows.at(-1);
      return {
        records: rows.map((row) => toRecord(row, now)),
        next: last === undefined || rows.length < limit ? undefined : String(last.seq),
      };
    },
    creditTransfer: createTransferCredit(db),
  };
}

function createTransferCredit(
  db: Database.Database,
): (now: number, transfer: UnservedTransfer) => TransferCredit {
  const select = selectPayment(db);
  const insert = db.prepare<unknown[]>(
    `INSERT INTO payment (id, state, fence, lease_until, fingerprint, payer, amount, asset, pay_to, network,
       x402_version, route, memo, fee_payer, claim_height, tx, reason, asset_amount, watched, created_at,
       updated_at)
     VALUES (?, 'credited', 1, NULL, '', ?, ?, ?, ?, ?, 2, '', ?, ?, NULL, ?, ?, ?, 0, ?, ?)`,
  );
  const change = db.prepare<[string, string, number, number]>(
    `UPDATE payment SET state = 'credited', fence = fence + 1, tx = ?, reason = ?, watched = 0, identifier = NULL,
       lease_until = NULL, updated_at = ? WHERE seq = ?`,
  );
  const isTrimmed = createTrimmedReader(db);
  const credit = createCrediter(db);

  return (now, transfer) => {
    const { id, payer, amount, asset, payTo, network, memo, feePayer, transaction, reason } = transfer;
    if (amount <= 0n) throw new Error("A credit must be more than nothing.");
    const row = select.get(id);
    if (row === undefined && isTrimmed(id)) return "recorded";
    if (row === undefined) {
      const stored = storedAssetAmount(transfer);
      insert.run(
        ...[id, payer, amount, asset, payTo, network, memo, feePayer, transaction, reason, stored, now, now],
      );
      const made = { id, payer, amount: String(amount), beneficiary: null, topup: 0 } as const;
      return credit(now, made) === "credited" ? "credited" : "repeated";
    }
    if (row.state === "credited") return "repeated";
    if ((row.state !== "released" && row.state !== "open") || isLeased(row, now)) return "recorded";
    change.run(transaction, reason, now, row.seq);
    return credit(now, row) === "credited" ? "credited" : "repeated";
  };
}
