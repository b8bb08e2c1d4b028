import type Database from "better-sqlite3";
import type { HoldRequest } from "./call-ledger.ts";
import type { StoredKey } from "./stored-key.ts";

/** What of a key decides whether a call is admitted. */
export type PayingKey = Pick<
  StoredKey,
  | "id"
  | "label"
  | "permissions"
  | "models"
  | "providers"
  | "spend_limit"
  | "limit_reset"
  | "rpm"
  | "concurrency"
  | "expires_at"
  | "revoked_at"
  | "period"
  | "spent"
  | "held"
  | "running"
  | "window_start"
  | "window_count"
>;

/** Whoever is to pay for a call, at this moment. */
export interface Payer {
  readonly account: string;
  /** Undefined: the call names the account itself. */
  readonly key: PayingKey | undefined;
  /** Balance less what is held, MicroUsd. */
  readonly available: bigint;
  /** What this very hold has set aside already; undefined: it is new. */
  readonly known: bigint | undefined;
  /** The account has holds that lapsed and were not freed yet. */
  readonly hasLapsed: boolean;
}

/** Of the account `a`; the hold's id and now are bound. */
const ACCOUNT_COLUMNS = `a.id, CAST(a.balance - a.held AS TEXT), (SELECT CAST(amount AS TEXT) FROM hold WHERE id = ?),
  EXISTS (SELECT 1 FROM hold WHERE account = a.id AND lease_until <= ?)`;
type AccountColumns = readonly [id: string, available: string, known: string | null, hasLapsed: 0 | 1];

const KEY_COLUMNS = `k.id, k.label, k.permissions, k.models, k.providers, CAST(k.spend_limit AS TEXT), k.limit_reset, k.rpm,
  k.concurrency, k.expires_at, k.revoked_at, k.period, CAST(k.spent AS TEXT), CAST(k.held AS TEXT), k.running, k.window_start,
  k.window_count`;
type KeyColumns = readonly [
  id: string,
  label: string,
  permissions: string,
  models: string | null,
  providers: string | null,
  spendLimit: string | null,
  limitReset: StoredKey["limit_reset"],
  rpm: number | null,
  concurrency: number | null,
  expiresAt: number | null,
  revokedAt: number | null,
  period: number,
  spent: string,
  held: string,
  running: number,
  windowStart: number,
  windowCount: number,
];

/**
 * Who pays for a call; `unknown` also for a secret that was rotated out. All in one statement and as a bare list of columns: this
 * is asked for every call, and a statement costs more than what it looks up, as does an object that the driver builds.
 */
export function createPayerLookup(
  db: Database.Database,
): (request: HoldRequest, now: number) => Payer | "unknown" {
  const bySecret = db
    .prepare<[string, number, string], readonly [number | null, ...AccountColumns, ...KeyColumns]>(
      `SELECT s.valid_until, ${ACCOUNT_COLUMNS}, ${KEY_COLUMNS}
       FROM key_secret s JOIN api_key k ON k.seq = s.key JOIN account a ON a.id = k.account WHERE s.hash = ?`,
    )
    .raw();
  const byAccount = db
    .prepare<[string, number, string], AccountColumns>(
      `SELECT ${ACCOUNT_COLUMNS} FROM account a WHERE a.id = ?`,
    )
    .raw();
  return ({ id, payer }, now) => {
    if (payer.kind === "account") {
      const row = byAccount.get(id, now, payer.account);
      return row === undefined ? "unknown" : toPayer(row, undefined);
    }
    const row = bySecret.get(id, now, payer.hash);
    if (row === undefined) return "unknown";
    const [validUntil, account, available, known, hasLapsed, ...key] = row;
    if (validUntil !== null && validUntil <= now) return "unknown";
    return toPayer([account, available, known, hasLapsed], toPayingKey(key));
  };
}

function toPayer([account, available, known, hasLapsed]: AccountColumns, key: PayingKey | undefined): Payer {
  return {
    account,
    key,
    available: BigInt(available),
    known: known === null ? undefined : BigInt(known),
    hasLapsed: hasLapsed === 1,
  };
}

function toPayingKey([
  id,
  label,
  permissions,
  models,
  providers,
  spendLimit,
  limitReset,
  rpm,
  concurrency,
  expiresAt,
  revokedAt,
  period,
  spent,
  held,
  running,
  windowStart,
  windowCount,
]: KeyColumns): PayingKey {
  return {
    id,
    label,
    permissions,
    models,
    providers,
    spend_limit: spendLimit,
    limit_reset: limitReset,
    rpm,
    concurrency,
    expires_at: expiresAt,
    revoked_at: revokedAt,
    period,
    spent,
    held,
    running,
    window_start: windowStart,
    window_count: windowCount,
  };
}
