import type Database from "better-sqlite3";
import { demandTrimAge, type ExportKind } from "./export-ledger.ts";
import { createCursor, PAYMENT_VERSION } from "./sqlite-export.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** Rows deleted in one transaction: a gateway's call waits for no more than this. */
const BATCH = 500;

interface AgedRow {
  readonly seq: number;
  readonly at: number;
}

type Trim = (upTo: number) => number;

/** Deletes what was exported and is old, a bounded number at a time; the caller asks again until it is none. */
export function createTrim(db: Database.Database): Pick<Handlers, "trimExported"> {
  const trims: Readonly<Record<ExportKind, Trim>> = {
    journal: createJournalTrim(db),
    payments: createPaymentTrim(db),
    usage: createUsageTrim(db),
  };
  return {
    trimExported(now, kind, olderThanMs) {
      demandTrimAge(olderThanMs);
      return trims[kind](now - olderThanMs);
    },
  };
}

/** The last of the rows that are old enough and have no younger one before them; undefined if the first is too young. */
function lastOld(rows: readonly AgedRow[], upTo: number): number | undefined {
  const young = rows.findIndex(({ at }) => at > upTo);
  return (young === -1 ? rows : rows.slice(0, young)).at(-1)?.seq;
}

/** Each entry's amount goes into the sum of its account and key, and a credit's reference stays, in the same transaction. */
function createJournalTrim(db: Database.Database): Trim {
  const cursor = createCursor(db);
  const oldest = db.prepare<[number, number], AgedRow>(
    "SELECT seq, at FROM journal WHERE seq <= ? ORDER BY seq LIMIT ?",
  );
  const steps = [
    `INSERT INTO trimmed_reference (account, reference, amount)
       SELECT account, reference, amount FROM journal WHERE seq <= ? AND kind <> 'capture'`,
    `UPDATE account SET trimmed = trimmed + part.total
       FROM (SELECT account, sum(amount) AS total FROM journal WHERE seq <= ? GROUP BY account) AS part
       WHERE id = part.account`,
    `UPDATE api_key SET trimmed = trimmed - part.total
       FROM (SELECT key, sum(amount) AS total FROM journal WHERE seq <= ? AND key IS NOT NULL GROUP BY key) AS part
       WHERE id = part.key`,
  ].map((sql) => db.prepare<[number]>(sql));
  const remove = db.prepare<[number]>("DELETE FROM journal WHERE seq <= ?");
  return (upTo) => {
    const last = lastOld(oldest.all(cursor.read("journal"), BATCH), upTo);
    if (last === undefined) return 0;
    for (const step of steps) step.run(last);
    return remove.run(last).changes;
  };
}

/** The newest record stays whatever its age: SQLite would give its number to the next one, and that would count as exported. */
function createUsageTrim(db: Database.Database): Trim {
  const cursor = createCursor(db);
  const oldest = db.prepare<[number, number], AgedRow>(
    `SELECT id AS seq, at FROM usage WHERE id <= ? AND id < (SELECT max(id) FROM usage) ORDER BY id LIMIT ?`,
  );
  const remove = db.prepare<[number]>("DELETE FROM usage WHERE id <= ?");
  return (upTo) => {
    const last = lastOld(oldest.all(cursor.read("usage"), BATCH), upTo);
    return last === undefined ? 0 : remove.run(last).changes;
  };
}

function createPaymentTrim(db: Database.Database): Trim {
  const find = db.prepare<[number, number], { seq: number; id: string; state: string }>(
    `SELECT seq, id, state FROM payment
     WHERE exported IS NOT NULL AND updated_at <= ? AND exported = ${PAYMENT_VERSION}
       AND (state IN ('delivered', 'credited') OR (state = 'released' AND watched = 0)) AND lease_until IS NULL
     ORDER BY updated_at LIMIT ?`,
  );
  const remember = db.prepare<[string]>("INSERT INTO trimmed_payment (id) VALUES (?) ON CONFLICT DO NOTHING");
  const removeResponse = db.prepare<[number]>("DELETE FROM response WHERE payment = ?");
  const removeStandIns = db.prepare<[number]>("DELETE FROM stand_in WHERE payment = ?");
  const remove = db.prepare<[number]>("DELETE FROM payment WHERE seq = ?");
  return (upTo) => {
    const rows = find.all(upTo, BATCH);
    for (const { seq, id, state } of rows) {
      if (state !== "released") remember.run(id);
      removeResponse.run(seq);
      removeStandIns.run(seq);
      remove.run(seq);
    }
    return rows.length;
  };
}
