import type Database from "better-sqlite3";
import type { UsageFacts, UsageRecord } from "./call-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** Writes the record of a call; one for each hold. */
export function createUsageWriter(db: Database.Database) {
  const insert = db.prepare(
    `INSERT INTO usage (hold, at, tier, account, key, key_label, payer, route, model, provider, prompt_tokens,
       completion_tokens, estimated, held, charged, shortfall, upstream_cost, status, upstream_status, ms, tx, not_charged)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (hold) WHERE hold IS NOT NULL DO NOTHING`,
  );
  return (
    now: number,
    hold: string | undefined,
    usage: UsageFacts,
    charged: bigint,
    shortfall: bigint,
  ): void => {
    insert.run(
      hold ?? null,
      now,
      usage.tier,
      usage.account ?? null,
      usage.keyId ?? null,
      usage.keyLabel ?? null,
      usage.payer ?? null,
      usage.route,
      usage.model ?? null,
      usage.provider ?? null,
      usage.promptTokens ?? null,
      usage.completionTokens ?? null,
      usage.estimated ? 1 : 0,
      usage.held,
      charged,
      shortfall,
      usage.upstreamCost ?? null,
      usage.status ?? null,
      usage.upstreamStatus ?? null,
      Math.round(usage.ms),
      usage.transaction ?? null,
      usage.notCharged ?? null,
    );
  };
}

/** A usage record as it is stored; money as text. */
export interface UsageRow {
  readonly id: number;
  readonly at: number;
  readonly tier: UsageFacts["tier"];
  readonly account: string | null;
  readonly key: string | null;
  readonly key_label: string | null;
  readonly payer: string | null;
  readonly route: string;
  readonly model: string | null;
  readonly provider: string | null;
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  readonly estimated: 0 | 1;
  readonly held: string;
  readonly charged: string;
  readonly upstream_cost: string | null;
  readonly status: number | null;
  readonly upstream_status: number | null;
  readonly ms: number;
  readonly tx: string | null;
  readonly not_charged: string | null;
}

/** The columns of a {@link UsageRow}, for SELECT. */
export const USAGE_COLUMNS = `id, at, tier, account, key, key_label, payer, route, model, provider, prompt_tokens,
  completion_tokens, estimated, CAST(held AS TEXT) AS held, CAST(charged AS TEXT) AS charged,
  CAST(upstream_cost AS TEXT) AS upstream_cost, status, upstream_status, ms, tx, not_charged`;

/** Usage records, newest first. */
export function createUsageReader(db: Database.Database): Handlers["usage"] {
  const statements = new Map<string, Database.Statement<unknown[], UsageRow>>();

  function select(conditions: string): Database.Statement<unknown[], UsageRow> {
    const known = statements.get(conditions);
    if (known !== undefined) return known;
    const made = db.prepare<unknown[], UsageRow>(
      `SELECT ${USAGE_COLUMNS} FROM usage WHERE ${conditions} ORDER BY id DESC LIMIT ?`,
    );
    statements.set(conditions, made);
    return made;
  }

  return (_now, { account, keyId, model, since, before, limit }) => {
    const conditions = [
      ...(account === undefined ? [] : ["account = ?"]),
      ...(keyId === undefined ? [] : ["key = ?"]),
      ...(model === undefined ? [] : ["model = ?"]),
      "at >= ?",
      "id < ?",
    ].join(" AND ");
    const values = [account, keyId, model].filter((value) => value !== undefined);
    return select(conditions)
      .all(...values, since ?? 0, before ?? Number.MAX_SAFE_INTEGER, limit)
      .map(toUsageRecord);
  };
}

export function toUsageRecord(row: UsageRow): UsageRecord {
  return {
    id: row.id,
    at: row.at,
    tier: row.tier,
    account: row.account ?? undefined,
    keyId: row.key ?? undefined,
    keyLabel: row.key_label ?? undefined,
    payer: row.payer ?? undefined,
    route: row.route,
    model: row.model ?? undefined,
    provider: row.provider ?? undefined,
    promptTokens: row.prompt_tokens ?? undefined,
    completionTokens: row.completion_tokens ?? undefined,
    estimated: row.estimated === 1,
    held: BigInt(row.held),
    charged: BigInt(row.charged),
    upstreamCost: row.upstream_cost === null ? undefined : BigInt(row.upstream_cost),
    status: row.status ?? undefined,
    upstreamStatus: row.upstream_status ?? undefined,
    ms: row.ms,
    transaction: row.tx ?? undefined,
    notCharged: row.not_charged ?? undefined,
  };
}
