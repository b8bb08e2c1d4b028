import type Database from "better-sqlite3";
import { MAX_SESSIONS, type SessionLedger } from "./session-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** What is over is deleted by who adds, so many at a time. */
const SWEEP_BATCH = 100;

interface SessionRow {
  readonly current: string;
  readonly previous: string | null;
  readonly refreshed_at: number;
}

/** Used nonces, and sessions with their refresh tokens. */
export function createSessions(db: Database.Database): Pick<Handlers, keyof SessionLedger> {
  const sweepUsed = db.prepare<[number, number]>(
    `DELETE FROM used_once WHERE (wallet, key) IN
       (SELECT wallet, key FROM used_once WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  const use = db.prepare<[string, string, number, number]>(
    `INSERT INTO used_once (wallet, key, expires_at) VALUES (?, ?, ?)
     ON CONFLICT (wallet, key) DO UPDATE SET expires_at = excluded.expires_at WHERE expires_at <= ?`,
  );
  const sweep = db.prepare<[number, number]>(
    `DELETE FROM session WHERE id IN
       (SELECT id FROM session WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  const open = db.prepare<[string, string, string, number, number, number]>(
    `INSERT INTO session (wallet, id, current, refreshed_at, opened_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO NOTHING`,
  );
  const trim = db.prepare<[string, number]>(
    `DELETE FROM session WHERE id IN
       (SELECT id FROM session WHERE wallet = ? ORDER BY opened_at DESC, seq DESC LIMIT -1 OFFSET ?)`,
  );
  const find = db.prepare<[string, string, number], SessionRow>(
    "SELECT current, previous, refreshed_at FROM session WHERE wallet = ? AND id = ? AND expires_at > ?",
  );
  const refresh = db.prepare<[string, string, number, string]>(
    "UPDATE session SET current = ?, previous = ?, refreshed_at = ? WHERE id = ?",
  );
  const end = db.prepare<[string, string]>("DELETE FROM session WHERE wallet = ? AND id = ?");
  const endAll = db.prepare<[string]>("DELETE FROM session WHERE wallet = ?");
  return {
    useOnce(now, wallet, key, ttlMs) {
      sweepUsed.run(now, SWEEP_BATCH);
      return use.run(wallet, key, now + ttlMs, now).changes === 1 ? "first" : "again";
    },
    openSession(now, { wallet, id, token, ttlMs }) {
      sweep.run(now, SWEEP_BATCH);
      open.run(wallet, id, token, now, now, now + ttlMs);
      trim.run(wallet, MAX_SESSIONS);
    },
    refreshSession(now, { wallet, id, token, next, graceMs }) {
      const row = find.get(wallet, id, now);
      if (row === undefined) return "ended";
      if (row.current === token) {
        refresh.run(next, token, now, id);
        return "refreshed";
      }
      if (row.previous === token && now < row.refreshed_at + graceMs) return "just_refreshed";
      end.run(wallet, id);
      return "reused";
    },
    hasSession: (now, wallet, id) => find.get(wallet, id, now) !== undefined,
    endSession(_now, wallet, id) {
      end.run(wallet, id);
    },
    endSessions(_now, wallet) {
      endAll.run(wallet);
    },
  };
}
