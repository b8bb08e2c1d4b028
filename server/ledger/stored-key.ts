import { z } from "zod";
import { type KeyRecord, type LimitReset, PERMISSIONS } from "./account-ledger.ts";
import { limitPeriod } from "./limit-period.ts";

/** A key as it is stored; money is read as text, so that none is rounded. */
export interface StoredKey {
  readonly id: string;
  readonly account: string;
  readonly label: string;
  readonly prefix: string;
  readonly last4: string;
  readonly permissions: string;
  readonly models: string | null;
  readonly providers: string | null;
  readonly spend_limit: string | null;
  readonly limit_reset: LimitReset;
  readonly rpm: number | null;
  readonly concurrency: number | null;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  readonly created_at: number;
  readonly last_used_at: number | null;
  readonly usage: string;
  /** Start of the period that `spent` belongs to. */
  readonly period: number;
  readonly spent: string;
  readonly held: string;
  readonly running: number;
  readonly window_start: number;
  readonly window_count: number;
}

const names = z.array(z.string());
const permissions = z.array(z.enum(PERMISSIONS));

/** The list in such a column; undefined: no restriction. */
export function readNames(text: string | null): readonly string[] | undefined {
  return text === null ? undefined : names.parse(JSON.parse(text));
}

/** What was spent in the period that contains `now`. */
export function spentNow(row: Pick<StoredKey, "limit_reset" | "period" | "spent">, now: number): bigint {
  return limitPeriod(row.limit_reset, now).start > row.period ? 0n : BigInt(row.spent);
}

export function statusOf(
  row: Pick<StoredKey, "revoked_at" | "expires_at">,
  now: number,
): KeyRecord["status"] {
  if (row.revoked_at !== null) return "revoked";
  return row.expires_at !== null && row.expires_at <= now ? "expired" : "active";
}

export function toKeyRecord(row: StoredKey, now: number): KeyRecord {
  const limit = row.spend_limit === null ? undefined : BigInt(row.spend_limit);
  const [spent, held] = [spentNow(row, now), BigInt(row.held)];
  const left = limit === undefined ? undefined : limit - spent - held;
  return {
    id: row.id,
    account: row.account,
    label: row.label,
    prefix: row.prefix,
    last4: row.last4,
    status: statusOf(row, now),
    permissions: permissions.parse(JSON.parse(row.permissions)),
    models: readNames(row.models),
    providers: readNames(row.providers),
    limit,
    limitReset: row.limit_reset,
    rpm: row.rpm ?? undefined,
    concurrency: row.concurrency ?? undefined,
    expiresAt: row.expires_at ?? undefined,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
    usage: BigInt(row.usage),
    spent,
    held,
    limitRemaining: left === undefined || left > 0n ? left : 0n,
    limitResetsAt: limit === undefined ? undefined : limitPeriod(row.limit_reset, now).end,
  };
}
