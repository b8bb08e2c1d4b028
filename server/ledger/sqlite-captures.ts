import type Database from "better-sqlite3";
import type { CaptureRequest, CaptureResult, UsageFacts, UsageRecord } from "./call-ledger.ts";
import { limitPeriod } from "./limit-period.ts";
import { createAlertWriter } from "./sqlite-alerts.ts";
import { createFreeing } from "./sqlite-holds.ts";
import { KEY_COLUMNS, type KeyRow, spentNow } from "./sqlite-key-rows.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** The steps that end a call: capture, keepAnswer, releaseHold; and its usage record. */
export function createCaptures(
  db: Database.Database,
): Pick<Handlers, "capture" | "keepAnswer" | "releaseHold" | "recordUsage" | "usage"> {
  const free = createFreeing(db);
  const debit = createDebit(db);
  const writeUsage = createUsageWriter(db);
  const holdAmount = db
    .prepare<[string], string>("SELECT CAST(amount AS TEXT) FROM hold WHERE id = ?")
    .pluck();
  const ended = db.prepare<[string], { charged: string; shortfall: string }>(
    "SELECT CAST(charged AS TEXT) AS charged, CAST(shortfall AS TEXT) AS shortfall FROM usage WHERE hold = ?",
  );
  const available = db
    .prepare<[string], string>("SELECT CAST(balance - held AS TEXT) FROM account WHERE id = ?")
    .pluck();
  const captured = db.prepare<[string]>("UPDATE idempotent_call SET captured = 1 WHERE hold = ?");
  const keep = db.prepare<[Uint8Array, number, string]>(
    "UPDATE idempotent_call SET sealed = ?, sealed_until = ? WHERE hold = ? AND captured = 1",
  );

  return {
    capture(now, request): CaptureResult {
      const { id, account, cost } = request;
      const before = ended.get(id);
      if (before !== undefined) {
        return { outcome: "repeated", charged: BigInt(before.charged), shortfall: BigInt(before.shortfall) };
      }
      const held = holdAmount.get(id);
      captured.run(id);
      if (held !== undefined) free(id);
      const most = BigInt(held ?? available.get(account) ?? 0);
      const charged = cost < most ? cost : most;
      const shortfall = held === undefined ? cost - charged : 0n;
      if (charged > 0n) debit(now, request, charged);
      writeUsage(now, id, request.usage, charged, shortfall);
      if (request.keep !== undefined) keep.run(request.keep.sealed, now + request.keep.ttlMs, id);
      return { outcome: "captured", charged, shortfall };
    },
    keepAnswer(now, holdId, { sealed, ttlMs }) {
      keep.run(sealed, now + ttlMs, holdId);
    },
    releaseHold(now, id, usage) {
      if (ended.get(id) !== undefined) return "gone";
      const freed = free(id);
      writeUsage(now, id, usage, 0n, 0n);
      return freed ? "released" : "gone";
    },
    recordUsage(now, usage, charged) {
      writeUsage(now, undefined, usage, charged, 0n);
    },
    usage: createUsageReader(db),
  };
}

/** Takes money from an account: journal, balance, the key's spending, and the alerts that this crosses. */
function createDebit(db: Database.Database): (now: number, request: CaptureRequest, amount: bigint) => void {
  const alert = createAlertWriter(db);
  const take = db
    .prepare<[bigint, string], string>(
      "UPDATE account SET balance = balance - ? WHERE id = ? RETURNING CAST(balance AS TEXT)",
    )
    .pluck();
  const write = db.prepare<[string, string, string | null, bigint, bigint, number]>(
    "INSERT INTO journal (account, reference, kind, key, amount, balance, at) VALUES (?, ?, 'capture', ?, ?, ?, ?)",
  );
  const findKey = db.prepare<[string], KeyRow>(`SELECT ${KEY_COLUMNS} FROM api_key k WHERE k.id = ?`);
  const spend = db.prepare<[bigint, bigint, number, string]>(
    "UPDATE api_key SET usage = usage + ?, spent = ?, period = ? WHERE id = ?",
  );
  return (now, { id, account, keyId, lowBalance }, amount) => {
    const balance = BigInt(take.get(amount, account) ?? 0);
    write.run(account, `hold:${id}`, keyId ?? null, -amount, balance, now);
    const facts = { account, keyId: undefined, keyLabel: undefined, at: now };
    if (lowBalance !== undefined && balance < lowBalance && balance + amount >= lowBalance) {
      alert({ ...facts, kind: "low_balance", amount: balance, threshold: lowBalance });
    }
    const key = keyId === undefined ? undefined : findKey.get(keyId);
    if (key === undefined) return;
    const before = spentNow(key, now);
    spend.run(amount, before + amount, limitPeriod(key.limit_reset, now).start, key.id);
    if (key.spend_limit === null) return;
    const limit = BigInt(key.spend_limit);
    const crossed = (percent: bigint) =>
      before * 100n < limit * percent && (before + amount) * 100n >= limit * percent;
    const ofKey = { ...facts, keyId: key.id, keyLabel: key.label, amount: before + amount, threshold: limit };
    if (crossed(80n)) alert({ ...ofKey, kind: "key_limit_80" });
    if (crossed(100n)) alert({ ...ofKey, kind: "key_limit_100" });
  };
}

function createUsageWriter(db: Database.Database) {
  const insert = db.prepare(
    `INSERT INTO usage (hold, at, tier, account, key, key_label, payer, route, model, provider, prompt_tokens,
       completion_tokens, estimated, held, charged, shortfall, upstream_cost, status, ms, tx, not_charged)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
      Math.round(usage.ms),
      usage.transaction ?? null,
      usage.notCharged ?? null,
    );
  };
}

interface UsageRow {
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
  readonly ms: number;
  readonly tx: string | null;
  readonly not_charged: string | null;
}

function createUsageReader(db: Database.Database): Handlers["usage"] {
  const columns = `id, at, tier, account, key, key_label, payer, route, model, provider, prompt_tokens, completion_tokens,
    estimated, CAST(held AS TEXT) AS held, CAST(charged AS TEXT) AS charged,
    CAST(upstream_cost AS TEXT) AS upstream_cost, status, ms, tx, not_charged`;
  return (_now, { account, keyId, since, before, limit }) => {
    const conditions = [
      ...(account === undefined ? [] : ["account = ?"]),
      ...(keyId === undefined ? [] : ["key = ?"]),
      "at >= ?",
      "id < ?",
    ].join(" AND ");
    const values = [account, keyId].filter((value) => value !== undefined);
    return db
      .prepare<unknown[], UsageRow>(
        `SELECT ${columns} FROM usage WHERE ${conditions} ORDER BY id DESC LIMIT ?`,
      )
      .all(...values, since ?? 0, before ?? Number.MAX_SAFE_INTEGER, limit)
      .map(toUsageRecord);
  };
}

function toUsageRecord(row: UsageRow): UsageRecord {
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
    ms: row.ms,
    transaction: row.tx ?? undefined,
    notCharged: row.not_charged ?? undefined,
  };
}
