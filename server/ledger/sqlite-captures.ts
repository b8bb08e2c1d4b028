import type Database from "better-sqlite3";
import type { CaptureRequest, CaptureResult } from "./call-ledger.ts";
import { limitPeriod } from "./limit-period.ts";
import { createAccountAlertWriter } from "./sqlite-account-alerts.ts";
import { createAlertWriter } from "./sqlite-alerts.ts";
import { createFreeing, createHoldRemoval } from "./sqlite-holds.ts";
import { createIdempotency } from "./sqlite-idempotency.ts";
import { createLimitAlerts } from "./sqlite-limit-alerts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createUsageReader, createUsageWriter } from "./sqlite-usage.ts";
import { type StoredKey, spentNow } from "./stored-key.ts";

/** The steps that end a call: capture, keepAnswer, releaseHold; and its usage record, by which an ended hold is known. */
export function createCaptures(
  db: Database.Database,
): Pick<Handlers, "capture" | "keepAnswer" | "releaseHold" | "recordUsage" | "usage"> {
  const remove = createHoldRemoval(db);
  const free = createFreeing(db);
  const debit = createDebit(db);
  const writeUsage = createUsageWriter(db);
  const idempotency = createIdempotency(db);
  const ended = db.prepare<[string], { charged: string; shortfall: string }>(
    "SELECT CAST(charged AS TEXT) AS charged, CAST(shortfall AS TEXT) AS shortfall FROM usage WHERE hold = ?",
  );
  const available = db
    .prepare<[string], string>("SELECT CAST(balance - held AS TEXT) FROM account WHERE id = ?")
    .pluck();
  const captured = db.prepare<[string, string]>(
    "UPDATE idempotent_call SET captured = 1 WHERE id = ? AND hold = ?",
  );
  const keep = db.prepare<[Uint8Array, number, string]>(
    "UPDATE idempotent_call SET sealed = ?, sealed_until = ? WHERE hold = ? AND captured = 1",
  );

  /**
   * The hold was swept: the account bears what it still can, and never more than had been held. Nothing, if another call has
   * its idempotency key by now: that one is charged. If none has, the key stands for this call again.
   */
  function captureSwept(now: number, request: CaptureRequest): CaptureResult {
    const { id, account, cost, usage } = request;
    const before = ended.get(id);
    if (before !== undefined) {
      return { outcome: "repeated", charged: BigInt(before.charged), shortfall: BigInt(before.shortfall) };
    }
    const due = least(cost, usage.held);
    const isOurs = request.idempotency === undefined || idempotency.isFree(account, request.idempotency, now);
    const charged = isOurs ? least(due, BigInt(available.get(account) ?? 0)) : 0n;
    const shortfall = due - charged;
    if (charged > 0n) debit(now, request, charged, undefined);
    writeUsage(now, id, usage, charged, shortfall);
    if (isOurs && shortfall === 0n && request.idempotency !== undefined) {
      const key = idempotency.begin(account, request.idempotency, id, now);
      captured.run(key, id);
      if (request.keep !== undefined) keep.run(request.keep.sealed, now + request.keep.ttlMs, id);
    }
    return { outcome: "captured", charged, shortfall };
  }

  return {
    capture(now, request): CaptureResult {
      const { id, cost, usage } = request;
      if (cost < 0n) throw new Error("A call cannot cost less than nothing.");
      const hold = remove(id);
      if (hold === undefined) return captureSwept(now, request);
      const held = BigInt(hold.amount);
      const charged = least(cost, held);
      debit(now, { ...request, account: hold.account, keyId: hold.key ?? undefined }, charged, held);
      writeUsage(now, id, usage, charged, 0n);
      if (hold.idempotency !== null) {
        captured.run(hold.idempotency, id);
        if (request.keep !== undefined) keep.run(request.keep.sealed, now + request.keep.ttlMs, id);
      }
      return { outcome: "captured", charged, shortfall: 0n };
    },
    keepAnswer(now, holdId, { sealed, ttlMs }) {
      keep.run(sealed, now + ttlMs, holdId);
    },
    releaseHold(now, id, usage) {
      const freed = free(id);
      if (!freed && ended.get(id) !== undefined) return "gone";
      writeUsage(now, id, usage, 0n, 0n);
      return freed ? "released" : "gone";
    },
    recordUsage(now, usage, charged) {
      writeUsage(now, undefined, usage, charged, 0n);
    },
    usage: createUsageReader(db),
  };
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/**
 * Takes money from an account, and with it what was held for it (undefined: nothing is any more): balance, journal, the
 * key's spending, and the alerts that this crosses. An amount of 0 only gives back what was held.
 */
function createDebit(
  db: Database.Database,
): (now: number, request: CaptureRequest, amount: bigint, held: bigint | undefined) => void {
  const alert = createAlertWriter(db);
  const own = createAccountAlertWriter(db);
  const tellReached = createLimitAlerts(db);
  // Not with RETURNING: SQLite makes a table for what it returns, at several times the cost of the update.
  const take = db.prepare<[bigint, bigint, string]>(
    "UPDATE account SET held = held - ?, balance = balance - ? WHERE id = ?",
  );
  const find = db.prepare<[string], { readonly balance: string; readonly has_wishes: 0 | 1 }>(
    `SELECT CAST(balance AS TEXT) AS balance,
       EXISTS (SELECT 1 FROM alert_settings s WHERE s.account = a.id) AS has_wishes FROM account a WHERE a.id = ?`,
  );
  const write = db.prepare<[string, string, string | null, bigint, bigint, number]>(
    "INSERT INTO journal (account, reference, kind, key, amount, balance, at) VALUES (?, ?, 'capture', ?, ?, ?, ?)",
  );
  const spend = createSpending(db);
  return (now, { id, account, keyId, lowBalance }, amount, held) => {
    take.run(held ?? 0n, amount, account);
    const left = find.get(account);
    const balance = BigInt(left?.balance ?? 0);
    if (amount > 0n) write.run(account, `hold:${id}`, keyId ?? null, -amount, balance, now);
    const facts = { account, keyId: undefined, keyLabel: undefined, at: now };
    const fellBelow = (threshold: bigint | undefined): threshold is bigint =>
      threshold !== undefined && balance < threshold && balance + amount >= threshold;
    const low = { ...facts, kind: "low_balance", amount: balance } as const;
    if (fellBelow(lowBalance)) alert({ ...low, threshold: lowBalance });
    const wishes = amount > 0n && left?.has_wishes === 1 ? own.wishesOf(account) : undefined;
    if (fellBelow(wishes?.lowBalance)) own.write({ ...low, threshold: wishes.lowBalance });
    if (keyId === undefined) return;
    const key = spend(now, keyId, amount, held);
    if (key?.limit === undefined) return;
    const { label, limit, spent, period } = key;
    const crossed = (percent: bigint) =>
      (spent - amount) * 100n < limit * percent && spent * 100n >= limit * percent;
    const ofKey = { ...facts, keyId, keyLabel: label, amount: spent, threshold: limit };
    if (crossed(80n)) {
      alert({ ...ofKey, kind: "key_limit_80" });
      if (wishes?.keyLimit80 === true) own.write({ ...ofKey, kind: "key_limit_80" });
    }
    if (crossed(100n)) tellReached({ ...ofKey, period });
  };
}

/** Adds to a key's spending, in the period of this moment; says what it has spent in it now. */
function createSpending(db: Database.Database) {
  const find = db.prepare<
    [string],
    Pick<StoredKey, "label" | "spend_limit" | "limit_reset" | "period" | "spent">
  >(
    `SELECT label, CAST(spend_limit AS TEXT) AS spend_limit, limit_reset, period, CAST(spent AS TEXT) AS spent
     FROM api_key WHERE id = ?`,
  );
  const spend = db.prepare<[bigint, 0 | 1, bigint, bigint, number, string]>(
    `UPDATE api_key SET held = held - ?, running = running - ?, usage = usage + ?, spent = ?, period = max(period, ?)
     WHERE id = ?`,
  );
  return (now: number, id: string, amount: bigint, held: bigint | undefined) => {
    const row = find.get(id);
    if (row === undefined) return undefined;
    const spent = spentNow(row, now) + amount;
    const period = limitPeriod(row.limit_reset, now).start;
    spend.run(held ?? 0n, held === undefined ? 0 : 1, amount, spent, period, id);
    const limit = row.spend_limit === null ? undefined : BigInt(row.spend_limit);
    return { label: row.label, limit, spent, period };
  };
}
