import type Database from "better-sqlite3";
import type { Hold, HoldOutcome, HoldRange, HoldRequest, RateState } from "./call-ledger.ts";
import { limitPeriod } from "./limit-period.ts";
import { createForgetting, createIdempotency } from "./sqlite-idempotency.ts";
import { createLimitAlerts } from "./sqlite-limit-alerts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createPayerLookup, type Payer, type PayingKey } from "./sqlite-payers.ts";
import { readNames, spentNow, statusOf } from "./stored-key.ts";

const WINDOW_MS = 60_000;
/** Holds freed at a time. */
const SWEEP_BATCH = 200;

/** The steps that admit calls and let go of those that nobody ended: hold, renewHolds, sweepHolds. */
export function createHolds(db: Database.Database): Pick<Handlers, "hold" | "renewHolds" | "sweepHolds"> {
  const findPayer = createPayerLookup(db);
  const free = createFreeing(db);
  const calls = createIdempotency(db);
  const tellReached = createLimitAlerts(db);
  const lapsed = db
    .prepare<[string, number, number], string>(
      "SELECT id FROM hold WHERE account = ? AND lease_until <= ? LIMIT ?",
    )
    .pluck();
  const allLapsed = db
    .prepare<[number, number], string>("SELECT id FROM hold WHERE lease_until <= ? LIMIT ?")
    .pluck();
  const forget = createForgetting(db);
  const renew = db.prepare<[number, string]>("UPDATE hold SET lease_until = ? WHERE id = ?");
  const insert = db.prepare<[string, string, string | null, bigint, number, string | null]>(
    "INSERT INTO hold (id, account, key, amount, lease_until, idempotency) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const take = db.prepare<[bigint, string]>("UPDATE account SET held = held + ? WHERE id = ?");
  const takeOfKey = db.prepare<[bigint, number, number, number, string]>(
    `UPDATE api_key SET held = held + ?, running = running + 1, last_used_at = ?, window_start = ?, window_count = ?
     WHERE id = ?`,
  );
  const ownKey = db.prepare<[string, string], { masterKeyId: string; sealed: Uint8Array; last4: string }>(
    "SELECT master_key AS masterKeyId, sealed, last4 FROM provider_key WHERE account = ? AND provider = ?",
  );

  function admit(now: number, request: HoldRequest, payer: Payer): HoldOutcome {
    const { account, key } = payer;
    const refusal = key === undefined ? undefined : refuse(key, request, now);
    if (refusal !== undefined) return refusal;
    const { idempotency } = request;
    const earlier = idempotency === undefined ? undefined : calls.find(now, account, idempotency);
    if (earlier !== undefined) return earlier;
    const rate = key === undefined ? undefined : rateOf(key, now, 1);
    if (rate !== undefined && rate.remaining < 0)
      return { outcome: "rate_limited", rate: { ...rate, remaining: 0 } };
    if (key?.concurrency != null && key.running >= key.concurrency) {
      return { outcome: "too_many_concurrent", limit: key.concurrency };
    }
    const own = ownKeyOf(account, request);
    const range = own === undefined ? request.range : (request.ownKeyRange ?? request.range);
    const amount = affordable(range, payer, now);
    if (typeof amount !== "bigint") {
      if (amount.outcome === "key_limit_reached" && key !== undefined) tellOfLimit(account, key, now);
      return amount;
    }
    const row = idempotency === undefined ? null : calls.begin(account, idempotency, request.id, now);
    insert.run(request.id, account, key?.id ?? null, amount, now + request.leaseMs, row);
    take.run(amount, account);
    if (key !== undefined) {
      const window = windowOf(key, now);
      takeOfKey.run(amount, now, window.start, window.count + 1, key.id);
    }
    return { outcome: "held", hold: holdOf(request.id, payer, amount, rate, own) };
  }

  /** Not of a key that has calls under way: they may leave more of its limit than is free now. Nor of one whose call is too much by far. */
  function tellOfLimit(account: string, key: PayingKey, at: number): void {
    const [spent, limit] = [spentNow(key, at), BigInt(key.spend_limit ?? 0)];
    if (key.running > 0 || spent * 100n < limit * 80n) return;
    const period = limitPeriod(key.limit_reset, at).start;
    tellReached({ account, keyId: key.id, keyLabel: key.label, amount: spent, threshold: limit, at, period });
  }

  function ownKeyOf(account: string, { provider, ownKeyRange }: HoldRequest): Hold["providerKey"] {
    return provider === undefined || ownKeyRange === undefined ? undefined : ownKey.get(account, provider);
  }

  /** Its answer was lost on the way: applied once, and held for another lease. */
  function again(now: number, request: HoldRequest, payer: Payer, amount: bigint): HoldOutcome {
    renew.run(now + request.leaseMs, request.id);
    const rate = payer.key === undefined ? undefined : rateOf(payer.key, now, 0);
    return {
      outcome: "held",
      hold: holdOf(request.id, payer, amount, rate, ownKeyOf(payer.account, request)),
    };
  }

  /** Frees what lapsed in batches, until the call is admitted: nobody is refused for what a call that is gone still holds. */
  function admitOverLapsed(now: number, request: HoldRequest, payer: Payer): HoldOutcome {
    for (let fresh: Payer | "unknown" = payer; ; ) {
      if (fresh.hasLapsed) {
        for (const id of lapsed.all(payer.account, now, SWEEP_BATCH)) free(id);
        fresh = findPayer(request, now);
        if (fresh === "unknown") return { outcome: fresh };
      }
      const outcome = admit(now, request, fresh);
      if (outcome.outcome === "held" || !fresh.hasLapsed) return outcome;
    }
  }

  return {
    hold(now, request) {
      const payer = findPayer(request, now);
      if (payer === "unknown") return { outcome: payer };
      if (payer.known !== undefined) return again(now, request, payer, payer.known);
      return admitOverLapsed(now, request, payer);
    },
    renewHolds: (now, ids, leaseMs) => ids.filter((id) => renew.run(now + leaseMs, id).changes === 0),
    sweepHolds(now) {
      const stale = allLapsed.all(now, SWEEP_BATCH);
      for (const id of stale) free(id);
      forget(now);
      return stale.length;
    },
  };
}

function refuse(key: PayingKey, request: HoldRequest, now: number): HoldOutcome | undefined {
  const status = statusOf(key, now);
  if (status !== "active") return { outcome: status };
  // The column is a JSON list of names that need no escaping.
  if (!key.permissions.includes(`"${request.permission}"`)) return { outcome: "not_permitted" };
  const models = readNames(key.models);
  if (models !== undefined && request.model !== undefined && !models.includes(request.model)) {
    return { outcome: "model_not_allowed" };
  }
  const providers = readNames(key.providers);
  if (providers !== undefined && request.provider !== undefined && !providers.includes(request.provider)) {
    return { outcome: "provider_not_allowed" };
  }
  return undefined;
}

/** What can be set aside, at most `most`; or which purse is too short for `least`. */
function affordable(
  range: HoldRange,
  { key, available: ofAccount }: Payer,
  now: number,
): bigint | HoldOutcome {
  const limit = key?.spend_limit == null ? undefined : BigInt(key.spend_limit);
  const left =
    key === undefined || limit === undefined ? ofAccount : limit - spentNow(key, now) - BigInt(key.held);
  const ofKey = left < 0n ? 0n : left;
  const most = ofKey < ofAccount ? ofKey : ofAccount;
  if (most >= range.least) return most < range.most ? most : range.most;
  if (key === undefined || limit === undefined || ofKey >= ofAccount) {
    return { outcome: "insufficient_credits", needed: range.least, affordable: most };
  }
  const resetsAt = limitPeriod(key.limit_reset, now).end;
  return { outcome: "key_limit_reached", needed: range.least, affordable: most, limit, resetsAt };
}

function windowOf(key: PayingKey, now: number): { readonly start: number; readonly count: number } {
  const over = now >= key.window_start + WINDOW_MS || now < key.window_start;
  return over ? { start: now, count: 0 } : { start: key.window_start, count: key.window_count };
}

/** The state after so many `more` requests; `remaining` -1: one too many. */
function rateOf(key: PayingKey, now: number, more: 0 | 1): RateState | undefined {
  if (key.rpm === null) return undefined;
  const { start, count } = windowOf(key, now);
  return { limit: key.rpm, remaining: key.rpm - count - more, resetsInMs: start + WINDOW_MS - now };
}

function holdOf(
  id: string,
  { account, key }: Payer,
  amount: bigint,
  rate: RateState | undefined,
  providerKey: Hold["providerKey"],
): Hold {
  return { id, account, keyId: key?.id, keyLabel: key?.label, amount, rate, providerKey };
}

interface HoldRow {
  readonly account: string;
  readonly key: string | null;
  readonly amount: string;
  /** Of its row in `idempotent_call`. */
  readonly idempotency: string | null;
}

/** Deletes a hold and returns what it was; what it held is the caller's to give back, in the same step. */
export function createHoldRemoval(db: Database.Database): (id: string) => HoldRow | undefined {
  const find = db.prepare<[string], HoldRow>(
    "SELECT account, key, CAST(amount AS TEXT) AS amount, idempotency FROM hold WHERE id = ?",
  );
  const remove = db.prepare<[string]>("DELETE FROM hold WHERE id = ?");
  return (id) => {
    const hold = find.get(id);
    if (hold !== undefined) remove.run(id);
    return hold;
  };
}

/** Frees a hold as if it had never been: nothing is charged, and its idempotency key may be used again. */
export function createFreeing(db: Database.Database): (id: string) => boolean {
  const remove = createHoldRemoval(db);
  const give = db.prepare<[bigint, string]>("UPDATE account SET held = held - ? WHERE id = ?");
  const giveToKey = db.prepare<[bigint, string]>(
    "UPDATE api_key SET held = held - ?, running = running - 1 WHERE id = ?",
  );
  const forget = db.prepare<[string, string]>(
    "DELETE FROM idempotent_call WHERE id = ? AND hold = ? AND captured = 0",
  );
  return (id) => {
    const row = remove(id);
    if (row === undefined) return false;
    const amount = BigInt(row.amount);
    give.run(amount, row.account);
    if (row.key !== null) giveToKey.run(amount, row.key);
    if (row.idempotency !== null) forget.run(row.idempotency, id);
    return true;
  };
}
