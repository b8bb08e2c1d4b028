import type Database from "better-sqlite3";
import type { ExportKind, ExportPage } from "./export-ledger.ts";
import type { JournalRow } from "./sqlite-accounts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createTrimmedReader, PAYMENT_COLUMNS, type PaymentRow } from "./sqlite-rows.ts";
import { toUsageRecord, USAGE_COLUMNS, type UsageRow } from "./sqlite-usage.ts";
import { toRecord } from "./stored-payment.ts";

/** What a payment is exported as (export-ledger.ts, `paymentVersion`). Word for word as in the index payment_unexported. */
export const PAYMENT_VERSION =
  "(state || '.' || fence || '.' || updated_at || '.' || watched || '.' || orphaned)";

type PageReader = (now: number, after: string | undefined, limit: number) => ExportPage;

/** The walks over what was not exported, and the marks. One writer at a time numbers the rows, so no smaller number comes later. */
export function createExport(
  db: Database.Database,
): Pick<Handlers, "unexported" | "markExported" | "isTrimmed"> {
  const readers: Readonly<Record<ExportKind, PageReader>> = {
    journal: createJournalReader(db),
    payments: createPaymentReader(db),
    usage: createUsagePages(db),
  };
  const markPayment = db.prepare<[string, string, string]>(
    `UPDATE payment SET exported = ? WHERE id = ? AND ${PAYMENT_VERSION} = ?`,
  );
  const cursor = createCursor(db);
  const isTrimmed = createTrimmedReader(db);
  return {
    unexported: (now, kind, after, limit) => readers[kind](now, after, limit),
    markExported(_now, kind, marks) {
      for (const mark of marks) {
        const [id = "", version = ""] = mark.split(" ");
        if (kind === "payments") markPayment.run(version, id, version);
        else cursor.advance(kind, Number(mark));
      }
    },
    isTrimmed: (_now, id) => isTrimmed(id),
  };
}

/** Up to where the journal or the usage records are exported: the number of the last row, 0 at first. */
export function createCursor(db: Database.Database) {
  const read = db.prepare<[string], number>("SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?").pluck();
  const write = db.prepare<[string, string]>(
    `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE
     SET value = excluded.value WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)`,
  );
  return {
    read: (kind: "journal" | "usage"): number => read.get(`exported_${kind}`) ?? 0,
    advance(kind: "journal" | "usage", to: number): void {
      write.run(`exported_${kind}`, String(to));
    },
  };
}

interface NumberedEntry extends JournalRow {
  readonly seq: number;
  readonly key: string | null;
}

function createJournalReader(db: Database.Database): PageReader {
  const cursor = createCursor(db);
  const select = db.prepare<[number, number], NumberedEntry>(
    `SELECT seq, account, reference, kind, key, CAST(amount AS TEXT) AS amount, CAST(balance AS TEXT) AS balance, at
     FROM journal WHERE seq > ? ORDER BY seq LIMIT ?`,
  );
  return (_now, after, limit) => {
    const rows = select.all(Number(after ?? cursor.read("journal")), limit);
    const records = rows.map(({ account, reference, kind, key, amount, balance, at }) => ({
      kind: "journal" as const,
      entry: {
        ...{ account, reference, kind, at },
        keyId: key ?? undefined,
        amount: BigInt(amount),
        balance: BigInt(balance),
      },
    }));
    return pageOf(records, rows.at(-1)?.seq, limit);
  };
}

function createUsagePages(db: Database.Database): PageReader {
  const cursor = createCursor(db);
  const select = db.prepare<[number, number], UsageRow>(
    `SELECT ${USAGE_COLUMNS} FROM usage WHERE id > ? ORDER BY id LIMIT ?`,
  );
  return (_now, after, limit) => {
    const rows = select.all(Number(after ?? cursor.read("usage")), limit);
    const records = rows.map((row) => ({ kind: "usage" as const, usage: toUsageRecord(row) }));
    return pageOf(records, rows.at(-1)?.id, limit);
  };
}

function pageOf(records: ExportPage["records"], last: number | undefined, limit: number): ExportPage {
  if (last === undefined) return { records, marks: [], next: undefined };
  return { records, marks: [String(last)], next: records.length < limit ? undefined : String(last) };
}

function createPaymentReader(db: Database.Database): PageReader {
  const select = db.prepare<[number, number], PaymentRow & { readonly version: string }>(
    `SELECT ${PAYMENT_COLUMNS}, ${PAYMENT_VERSION} AS version FROM payment
     WHERE seq > ? AND exported IS NOT ${PAYMENT_VERSION} ORDER BY seq LIMIT ?`,
  );
  return (now, after, limit) => {
    const rows = select.all(Number(after ?? 0), limit);
    const last = rows.at(-1);
    return {
      records: rows.map((row) => ({ kind: "payments", payment: toRecord(row, now) })),
      marks: rows.map(({ id, version }) => `${id} ${version}`),
      next: last === undefined || rows.length < limit ? undefined : String(last.seq),
    };
  };
}
