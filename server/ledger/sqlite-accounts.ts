import type Database from "better-sqlite3";
import type { MicroUsd } from "../money.ts";
import type { JournalEntry } from "./ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

interface JournalRow {
  readonly account: string;
  readonly reference: string;
  readonly kind: JournalEntry["kind"];
  readonly amount: string;
  readonly balance: string;
  readonly at: number;
}

/** Reads balances and journals. An account nobody wrote to has 0 and no entries. */
export function createAccounts(db: Database.Database): Pick<Handlers, "balance" | "journal"> {
  const balance = selectBalance(db);
  const entries = db.prepare<[string], JournalRow>(
    `SELECT account, reference, kind, CAST(amount AS TEXT) AS amount, CAST(balance AS TEXT) AS balance, at
     FROM journal WHERE account = ? ORDER BY seq`,
  );
  return {
    balance: (_now, account) => BigInt(balance.get(account) ?? 0),
    journal: (_now, account) =>
      entries
        .all(account)
        .map((row) => ({ ...row, amount: BigInt(row.amount), balance: BigInt(row.balance) })),
  };
}

/** A credit for a payment that was settled and not served. */
export interface OwedCredit {
  readonly id: string;
  readonly payer: string;
  readonly amount: MicroUsd;
}

/**
 * Writes what is owed for a payment onto `wallet:<payer>`: one journal entry with reference `payment:<id>` and the new
 * balance, in the caller's transaction. A reference that is in the journal already changes nothing.
 */
export function createCrediter(db: Database.Database): (now: number, owed: OwedCredit) => void {
  const balance = selectBalance(db);
  const written = db
    .prepare<[string, string], number>("SELECT 1 FROM journal WHERE account = ? AND reference = ?")
    .pluck();
  const setBalance = db.prepare<[string, bigint]>(
    "INSERT INTO account (id, balance) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
  );
  const write = db.prepare<[string, string, bigint, bigint, number]>(
    "INSERT INTO journal (account, reference, kind, amount, balance, at) VALUES (?, ?, 'owed_credit', ?, ?, ?)",
  );
  return (now, { id, payer, amount }) => {
    const account = `wallet:${payer}`;
    const reference = `payment:${id}`;
    if (written.get(account, reference) !== undefined) return;
    const after = BigInt(balance.get(account) ?? 0) + amount;
    setBalance.run(account, after);
    write.run(account, reference, amount, after, now);
  };
}

function selectBalance(db: Database.Database): Database.Statement<[string], string> {
  return db.prepare<[string], string>("SELECT CAST(balance AS TEXT) FROM account WHERE id = ?").pluck();
}
