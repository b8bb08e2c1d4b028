import type Database from "better-sqlite3";
import type { HoldOutcome, HoldRequest } from "./call-ledger.ts";

type Idempotency = NonNullable<HoldRequest["idempotency"]>;

/** How long a client may repeat a call. */
const IDEMPOTENCY_MS = 86_400_000;
/** Expired idempotency keys, and answers, forgotten in one sweep: it must not hold up the calls behind it. */
const FORGET_BATCH = 2_000;

/** Deletes idempotency keys whose day is over, and answers whose time is. */
export function createForgetting(db: Database.Database): (now: number) => void {
  const forgetCalls = db.prepare<[number, number]>(
    "DELETE FROM idempotent_call WHERE id IN (SELECT id FROM idempotent_call WHERE expires_at <= ? LIMIT ?)",
  );
  const forgetAnswers = db.prepare<[number, number]>(
    `UPDATE idempotent_call SET sealed = NULL, sealed_until = NULL
     WHERE id IN (SELECT id FROM idempotent_call WHERE sealed_until <= ? LIMIT ?)`,
  );
  return (now) => {
    forgetAnswers.run(now, FORGET_BATCH);
    forgetCalls.run(now, FORGET_BATCH);
  };
}

/** The idempotency keys of calls: what became of the first call, and the beginning of a new one. */
export function createIdempotency(db: Database.Database) {
  const select = db.prepare<
    [number, string, number],
    { fingerprint: string; captured: 0 | 1; sealed: Uint8Array | null }
  >(
    `SELECT fingerprint, captured, CASE WHEN sealed_until > ? THEN sealed END AS sealed
     FROM idempotent_call WHERE id = ? AND expires_at > ?`,
  );
  const write = db.prepare<[string, string, string, number]>(
    `INSERT INTO idempotent_call (id, fingerprint, hold, expires_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, hold = excluded.hold, captured = 0,
       sealed = NULL, sealed_until = NULL, expires_at = excluded.expires_at`,
  );
  return {
    find(now: number, account: string, key: Idempotency): HoldOutcome | undefined {
      const id = idOf(account, key);
      const row = select.get(now, id, now);
      if (row === undefined) return undefined;
      if (row.fingerprint !== key.fingerprint) return { outcome: "idempotency_conflict" };
      if (row.captured === 0) return { outcome: "in_progress" };
      return { outcome: "replay", response: row.sealed === null ? undefined : { sealed: row.sealed } };
    },
    /** No call has it. */
    isFree: (account: string, key: Idempotency, now: number) =>
      select.get(now, idOf(account, key), now) === undefined,
    /** Returns the row's id. */
    begin(account: string, key: Idempotency, hold: string, now: number): string {
      const id = idOf(account, key);
      write.run(id, key.fingerprint, hold, now + IDEMPOTENCY_MS);
      return id;
    },
  };
}

/** A key is the account's: every key of an account may repeat its calls. */
function idOf(account: string, { hash }: Idempotency): string {
  return `${account}\n${hash}`;
}
