import type Database from "better-sqlite3";
import type { MicroUsd } from "../money.ts";
import type { AccountRecord, JournalEntry, JournalPage } from "./account-ledger.ts";
import { KEY_COLUMNS } from "./sqlite-key-rows.ts";
import type { Handlers } from "./sqlite-messages.ts";
import type { PaymentRow } from "./sqlite-rows.ts";
import { type StoredKey, toKeyRecord } from "./stored-key.ts";

/** A journal entry as it is stored; money as text. */
export interface JournalRow {
  readonly account: string;
  readonly reference: string;
  readonly kind: JournalEntry["kind"];
  readonly amount: string;
  readonly balance: string;
  readonly at: number;
}

interface AccountRow {
  readonly id: string;
  readonly name: string;
  readonly balance: string;
  readonly held: string;
  readonly created_at: number;
}

const ACCOUNT_COLUMNS = "id, name, CAST(balance AS TEXT) AS balance, CAST(held AS TEXT) AS held, created_at";

/** Accounts, their balances, credits and journals. An account nobody wrote to has 0 and no entries. */
export function createAccounts(
  db: Database.Database,
): Pick<
  Handlers,
  | "createAccount"
  | "accounts"
  | "account"
  | "balance"
  | "journal"
  | "journalPage"
  | "paidInPage"
  | "creditAccount"
  | "keyBySecret"
> {
  const select = db.prepare<[string], AccountRow>(`SELECT ${ACCOUNT_COLUMNS} FROM account WHERE id = ?`);
  const selectAll = db.prepare<[], AccountRow>(
    `SELECT ${ACCOUNT_COLUMNS} FROM account ORDER BY created_at, id`,
  );
  const insert = db.prepare<[string, string, number]>(
    "INSERT INTO account (id, balance, name, created_at) VALUES (?, 0, ?, ?) ON CONFLICT (id) DO NOTHING",
  );
  const entries = db.prepare<[string], JournalRow>(
    `SELECT account, reference, kind, CAST(amount AS TEXT) AS amount, CAST(balance AS TEXT) AS balance, at
     FROM journal WHERE account = ? ORDER BY seq`,
  );
  const journalPage = createPages(db, "");
  const paidInPage = createPages(db, "AND kind IN ('owed_credit', 'topup')");
  const selectKey = db.prepare<[string, number], StoredKey>(
    `SELECT ${KEY_COLUMNS} FROM key_secret s JOIN api_key k ON k.seq = s.key
     WHERE s.hash = ? AND (s.valid_until IS NULL OR s.valid_until > ?)`,
  );
  const credit = createCredit(db);
  const read = (id: string): AccountRecord | undefined => {
    const row = select.get(id);
    return row === undefined ? undefined : toAccount(row);
  };
  return {
    createAccount: (now, id, name) => (insert.run(id, name, now).changes === 1 ? "created" : "exists"),
    accounts: () => selectAll.all().map(toAccount),
    account: (_now, id) => read(id),
    balance: (_now, account) => read(account)?.balance ?? 0n,
    journal: (_now, account) => entries.all(account).map(toEntry),
    journalPage: (_now, ...page) => journalPage(...page),
    paidInPage: (_now, ...page) => paidInPage(...page),
    creditAccount(now, account, amount, reference) {
      if (amount <= 0n) throw new Error("A credit must be more than nothing.");
      const known = read(account);
      if (known === undefined) return { outcome: "not_found", balance: 0n };
      return credit(now, { account, amount, reference: `credit:${reference}`, kind: "credit" });
    },
    keyBySecret(now, hash) {
      const row = selectKey.get(hash, now);
      const account = row === undefined ? undefined : read(row.account);
      return row === undefined || account === undefined ? "unknown" : { key: toKeyRecord(row, now), account };
    },
  };
}

/** Reads journals from their ends, page by page; `which` narrows the entries. */
function createPages(
  db: Database.Database,
  which: string,
): (account: string, before: string | undefined, limit: number) => JournalPage {
  const page = db.prepare<[string, number, number], JournalRow & { readonly seq: number }>(
    `SELECT seq, account, reference, kind, CAST(amount AS TEXT) AS amount, CAST(balance AS TEXT) AS balance, at
     FROM journal WHERE account = ? ${which} AND seq < ? ORDER BY seq DESC LIMIT ?`,
  );
  return (account, before, limit) => {
    if (before !== undefined && !/^\d{1,15}$/.test(before)) return { entries: [], next: undefined };
    const rows = page.all(account, before === undefined ? Number.MAX_SAFE_INTEGER : Number(before), limit);
    const last = rows.length < limit ? undefined : rows.at(-1)?.seq;
    return {
      entries: rows.map(({ seq: _seq, ...row }) => toEntry(row)),
      next: last === undefined ? undefined : String(last),
    };
  };
}

function toAccount({ id, name, balance, held, created_at }: AccountRow): AccountRecord {
  return { id, name, balance: BigInt(balance), held: BigInt(held), createdAt: created_at };
}

function toEntry(row: JournalRow): JournalEntry {
  return { ...row, amount: BigInt(row.amount), balance: BigInt(row.balance) };
}

interface Credit {
  readonly account: string;
  readonly amount: MicroUsd;
  readonly reference: string;
  readonly kind: "owed_credit" | "topup" | "credit";
  /** Whose spending it takes back. */
  readonly keyId?: string | undefined;
}

interface Credited {
  readonly outcome: "credited" | "repeated" | "conflict";
  readonly balance: MicroUsd;
}

/** Adds money once for each (account, reference): one journal entry and the new balance, in the caller's transaction. */
export function createCredit(db: Database.Database): (now: number, credit: Credit) => Credited {
  const balanceOf = db
    .prepare<[string], string>("SELECT CAST(balance AS TEXT) FROM account WHERE id = ?")
    .pluck();
  const earlier = db
    .prepare<[{ readonly account: string; readonly reference: string }], string>(
      `SELECT CAST(amount AS TEXT) FROM journal WHERE account = :account AND reference = :reference
       UNION ALL
       SELECT CAST(amount AS TEXT) FROM trimmed_reference WHERE account = :account AND reference = :reference`,
    )
    .pluck();
  const setBalance = db.prepare<[string, bigint, number]>(
    `INSERT INTO account (id, balance, created_at) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET balance = excluded.balance`,
  );
  const write = db.prepare<[string, string, string, string | null, bigint, bigint, number]>(
    "INSERT INTO journal (account, reference, kind, key, amount, balance, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
  );
  return (now, { account, amount, reference, kind, keyId }) => {
    const before = BigInt(balanceOf.get(account) ?? 0);
    const written = earlier.get({ account, reference });
    if (written !== undefined) {
      return { outcome: BigInt(written) === amount ? "repeated" : "conflict", balance: before };
    }
    const balance = before + amount;
    setBalance.run(account, balance, now);
    write.run(account, reference, kind, keyId ?? null, amount, balance, now);
    return { outcome: "credited", balance };
  };
}

/** A settled payment whose amount goes onto an account. */
type CreditedPayment = Pick<PaymentRow, "id" | "payer" | "amount" | "beneficiary" | "topup">;

/**
 * Writes a payment's amount onto its beneficiary's account, or onto `wallet:<payer>` where it names none or that account is
 * gone, under the reference `payment:<id>`. A reference that is in the journal already changes nothing.
 */
export function createCrediter(
  db: Database.Database,
): (now: number, payment: CreditedPayment) => Credited["outcome"] {
  const credit = createCredit(db);
  const exists = db.prepare<[string], number>("SELECT 1 FROM account WHERE id = ?").pluck();
  const forget = db.prepare<[string]>("UPDATE payment SET beneficiary = NULL WHERE id = ?");
  return (now, { id, payer, amount, beneficiary, topup }) => {
    const isGone = beneficiary !== null && exists.get(beneficiary) === undefined;
    if (isGone) forget.run(id);
    const account = beneficiary === null || isGone ? `wallet:${payer}` : beneficiary;
    const entry = { account, amount: BigInt(amount), reference: `payment:${id}` };
    return credit(now, { ...entry, kind: topup === 1 ? "topup" : "owed_credit" }).outcome;
  };
}
