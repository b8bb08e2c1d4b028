import type Database from "better-sqlite3";
import type { KeyCreation, KeyRecord, KeySettings, NewSecret, Repeatable } from "./account-ledger.ts";
import { limitPeriod } from "./limit-period.ts";
import { KEY_COLUMNS } from "./sqlite-key-rows.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { type StoredKey, spentNow, statusOf, toKeyRecord } from "./stored-key.ts";

/** Keys: made, shown, changed, rotated, revoked. */
export function createKeys(
  db: Database.Database,
): Pick<
  Handlers,
  "createKey" | "keys" | "key" | "revokeKey" | "rotateKey" | "changeKey" | "pepperMark" | "setPepperMark"
> {
  const select = db.prepare<[string], StoredKey>(`SELECT ${KEY_COLUMNS} FROM api_key k WHERE k.id = ?`);
  const selectAll = db.prepare<[], StoredKey>(`SELECT ${KEY_COLUMNS} FROM api_key k ORDER BY k.seq DESC`);
  const selectOf = db.prepare<[string], StoredKey>(
    `SELECT ${KEY_COLUMNS} FROM api_key k WHERE k.account = ? ORDER BY k.seq DESC`,
  );
  const hasAccount = db.prepare<[string], number>("SELECT 1 FROM account WHERE id = ?").pluck();
  const revoke = db.prepare<[number, string]>(
    "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
  );
  const showSecret = db.prepare<[string, string, string]>(
    "UPDATE api_key SET prefix = ?, last4 = ? WHERE id = ?",
  );
  const insert = createInsert(db);
  const addSecret = db.prepare<[string, string]>(
    "INSERT INTO key_secret (hash, key, valid_until) SELECT ?, seq, NULL FROM api_key WHERE id = ?",
  );
  const dropSecrets = db.prepare<[string, number]>(
    "DELETE FROM key_secret WHERE key = (SELECT seq FROM api_key WHERE id = ?) AND valid_until <= ?",
  );
  const endSecrets = db.prepare<[number, string, number]>(
    `UPDATE key_secret SET valid_until = ? WHERE key = (SELECT seq FROM api_key WHERE id = ?)
       AND (valid_until IS NULL OR valid_until > ?)`,
  );
  const change = createChange(db);
  const once = createOnce(db);
  const selectMark = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'pepper'").pluck();
  const setMark = db.prepare<[string]>(
    "INSERT INTO meta (key, value) VALUES ('pepper', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  );

  function read(id: string, now: number): KeyRecord | undefined {
    const row = select.get(id);
    return row === undefined ? undefined : toKeyRecord(row, now);
  }

  return {
    createKey: (now, id, account, secret, settings, repeatable) =>
      once(now, `create\n${account}`, repeatable, read, () => {
        if (hasAccount.get(account) === undefined) return { outcome: "not_found" };
        insert(now, id, account, secret, settings);
        addSecret.run(secret.hash, id);
        return made(read(id, now));
      }),
    keys: (now, account) =>
      (account === undefined ? selectAll.all() : selectOf.all(account)).map((row) => toKeyRecord(row, now)),
    key: (now, id) => read(id, now),
    revokeKey(now, id) {
      revoke.run(now, id);
      return read(id, now);
    },
    rotateKey: (now, id, secret, graceMs, repeatable) =>
      once(now, `rotate\n${id}`, repeatable, read, () => {
        const row = select.get(id);
        if (row === undefined) return { outcome: "not_found" };
        if (statusOf(row, now) !== "active") return { outcome: "not_active" };
        dropSecrets.run(id, now);
        const until = now + graceMs;
        endSecrets.run(until, id, until);
        addSecret.run(secret.hash, id);
        showSecret.run(secret.prefix, secret.last4, id);
        return made(read(id, now));
      }),
    changeKey(now, id, settings) {
      const row = select.get(id);
      if (row === undefined) return undefined;
      change(now, row, settings);
      return read(id, now);
    },
    pepperMark: () => selectMark.get(),
    setPepperMark(_now, mark) {
      setMark.run(mark);
    },
  };
}

function made(key: KeyRecord | undefined): KeyCreation {
  return key === undefined ? { outcome: "not_found" } : { outcome: "created", key };
}

function createInsert(db: Database.Database) {
  const insert = db.prepare(
    `INSERT INTO api_key (id, account, label, prefix, last4, permissions, models, providers, spend_limit, limit_reset, rpm,
       concurrency, expires_at, created_at, period) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return (
    now: number,
    id: string,
    account: string,
    { prefix, last4 }: NewSecret,
    settings: KeySettings,
  ): void => {
    const [label, ...rest] = columnsOf(settings);
    const period = limitPeriod(settings.limitReset, now).start;
    insert.run(id, account, label, prefix, last4, ...rest, now, period);
  };
}

/** What was spent stays spent, also when the limit starts again at other times from now on. */
function createChange(db: Database.Database) {
  const update = db.prepare(
    `UPDATE api_key SET label = ?, permissions = ?, models = ?, providers = ?, spend_limit = ?, limit_reset = ?, rpm = ?,
       concurrency = ?, expires_at = ?, spent = ?, period = ? WHERE id = ?`,
  );
  return (now: number, row: StoredKey, change: Partial<KeySettings>): void => {
    const settings: KeySettings = { ...toKeyRecord(row, now), ...change };
    const period = limitPeriod(settings.limitReset, now).start;
    update.run(...columnsOf(settings), spentNow(row, now), period, row.id);
  };
}

function columnsOf(settings: KeySettings): readonly (string | number | bigint | null)[] {
  const { label, permissions, models, providers, limit, limitReset, rpm, concurrency, expiresAt } = settings;
  return [
    label,
    JSON.stringify(permissions),
    models === undefined ? null : JSON.stringify(models),
    providers === undefined ? null : JSON.stringify(providers),
    limit ?? null,
    limitReset,
    rpm ?? null,
    concurrency ?? null,
    expiresAt ?? null,
  ];
}

/** Makes a repeat of the same wish under the same idempotency key return what the first one made. */
function createOnce(db: Database.Database) {
  const select = db.prepare<[string], { fingerprint: string; key: string }>(
    "SELECT fingerprint, key FROM key_request WHERE hash = ?",
  );
  const write = db.prepare<[string, string, string]>(
    "INSERT INTO key_request (hash, fingerprint, key) VALUES (?, ?, ?)",
  );
  return (
    now: number,
    scope: string,
    repeatable: Repeatable | undefined,
    read: (id: string, now: number) => KeyRecord | undefined,
    make: () => KeyCreation,
  ): KeyCreation => {
    if (repeatable === undefined) return make();
    const hash = `${scope}\n${repeatable.hash}`;
    const earlier = select.get(hash);
    const key = earlier === undefined ? undefined : read(earlier.key, now);
    if (earlier !== undefined && earlier.fingerprint !== repeatable.fingerprint)
      return { outcome: "conflict" };
    if (key !== undefined) return { outcome: "repeated", key };
    const creation = make();
    if (creation.outcome === "created") write.run(hash, repeatable.fingerprint, creation.key.id);
    return creation;
  };
}
