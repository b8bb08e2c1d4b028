import type Database from "better-sqlite3";
import type { ClaimOutcome, ClaimRequest } from "./ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";
import {
  createResponseReader,
  createTrimmedReader,
  createTwinReader,
  PAYMENT_COLUMNS,
  type PaymentRow,
  selectPayment,
} from "./sqlite-rows.ts";
import { isLeased, storedAssetAmount, toRecord } from "./stored-payment.ts";

/**
 * The steps that give somebody a lease on a call: claim, resume, renew.
 *
 * A record that is released, or open with a dead lease, holds no money: claiming it anew passes the same checks as a
 * new payment (identifier, twin, terms, cap) and re-opens it with the next fence and the new request's fields. It stays
 * watched: what was refused before may still land, whatever becomes of the new claim.
 * Otherwise one payer could collect released payments and have them all at work at once, or pay twice under one
 * identifier. For the same reason such a record loses its identifier to the next payment that brings it, and its lease with
 * it: whoever stood still with it must not settle under that identifier after all.
 */
export function createClaims(db: Database.Database): Pick<Handlers, "claim" | "resume" | "renew"> {
  const select = selectPayment(db);
  const prolong = db.prepare<[number, string, number]>(
    "UPDATE payment SET lease_until = ? WHERE id = ? AND fence = ? AND lease_until IS NOT NULL",
  );
  const takeOver = createTakeover(db);
  const answerRecorded = createRecordedClaim(db);
  const admit = createAdmission(db);
  const isTrimmed = createTrimmedReader(db);
  const remember = db.prepare<[string, number]>(
    "INSERT INTO stand_in (id, payment) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET payment = excluded.payment",
  );

  return {
    claim(now, request) {
      const row = select.get(request.id);
      if (row === undefined && isTrimmed(request.id)) return { outcome: "trimmed" };
      const recorded = row === undefined ? undefined : answerRecorded(now, row, request);
      return recorded ?? admit(now, request, row);
    },

    resume(now, id, fingerprint, leaseMs, standsInFor) {
      const row = select.get(id);
      if (row?.state !== "settled" || row.fingerprint !== fingerprint || isLeased(row, now)) return "lost";
      remember.run(standsInFor, row.seq);
      const taken = takeOver(now, row, leaseMs);
      return { fence: taken.fence, record: toRecord(taken, now) };
    },

    /** A dead lease that nobody took over comes back to life; a dropped one does not. */
    renew(now, leases, leaseMs) {
      return leases
        .filter(({ id, fence }) => prolong.run(now + leaseMs, id, fence).changes === 0)
        .map(({ id }) => id);
    },
  };
}

/** Gives a settled record, which the caller found without a live lease, to a new holder. */
function createTakeover(
  db: Database.Database,
): (now: number, row: PaymentRow, leaseMs: number) => PaymentRow {
  const take = db.prepare<[number, number], PaymentRow>(
    `UPDATE payment SET fence = fence + 1, servings = servings + 1, orphaned = 0, lease_until = ?
     WHERE seq = ? RETURNING ${PAYMENT_COLUMNS}`,
  );
  return (now, row, leaseMs) => {
    const taken = take.get(now + leaseMs, row.seq);
    if (taken === undefined) throw new Error("The record vanished within a step.");
    return taken;
  };
}

/** Answers from the record of this very payment; undefined: it holds no money and may be claimed anew. */
function createRecordedClaim(
  db: Database.Database,
): (now: number, row: PaymentRow, request: ClaimRequest) => ClaimOutcome | undefined {
  const takeOver = createTakeover(db);
  const response = createResponseReader(db);

  return (now, row, request) => {
    const record = toRecord(row, now);
    const same = row.fingerprint === request.fingerprint;
    switch (row.state) {
      case "released":
        return undefined;
      case "open":
        if (!record.leased) return undefined;
        return { outcome: same ? "in_progress" : "used", record };
      case "settling":
        if (!record.leased) return { outcome: "undecided", record };
        return { outcome: same ? "in_progress" : "used", record };
      case "unknown":
        return { outcome: "undecided", record };
      case "credited":
        return { outcome: "credited", record };
      case "delivered":
        if (!same) return { outcome: "used", record };
        return { outcome: "delivered", record, response: response(row, now) };
      case "settled": {
        if (!same) return { outcome: "used", record };
        if (record.leased) return { outcome: "in_progress", record };
        const taken = takeOver(now, row, request.leaseMs);
        const kept = response(row, now);
        return { outcome: "resumed", fence: taken.fence, record: toRecord(taken, now), response: kept };
      }
    }
  };
}

/** The checks of a new claim, in the order of {@link ClaimOutcome}, and the record it opens. */
function createAdmission(
  db: Database.Database,
): (now: number, request: ClaimRequest, earlier: PaymentRow | undefined) => ClaimOutcome {
  const byIdentifier = db.prepare<[string, string], PaymentRow>(
    `SELECT ${PAYMENT_COLUMNS} FROM payment WHERE identifier = ? AND id <> ?`,
  );
  const dropIdentifier = db.prepare<[number]>(
    "UPDATE payment SET identifier = NULL, lease_until = NULL WHERE seq = ?",
  );
  const findTwin = createTwinReader(db);
  const findPayer = db.prepare<
    [string, number, string, number, string, number],
    { readonly in_flight: number; readonly has_strike: 0 | 1 }
  >(
    `SELECT (SELECT count(*) FROM (SELECT 1 FROM payment
         WHERE payer = ? AND state IN ('open', 'settling') AND lease_until > ?
         UNION ALL SELECT 1 FROM payment
         WHERE payer = ? AND state IN ('settling', 'unknown', 'settled') AND state = 'unknown' LIMIT ?)) AS in_flight,
       EXISTS (SELECT 1 FROM payer WHERE address = ? AND upfront_until > ?) AS has_strike`,
  );
  const open = createOpener(db);
  const response = createResponseReader(db);

  return (now, request, earlier) => {
    const { identifierHash, payer, maxInFlight } = request;
    const holder = identifierHash === undefined ? undefined : byIdentifier.get(identifierHash, request.id);
    if (holder !== undefined && !(holder.state === "open" && !isLeased(holder, now))) {
      const record = toRecord(holder, now);
      if (holder.fingerprint !== request.fingerprint) return { outcome: "identifier_conflict", record };
      return { outcome: "identifier_replay", record, response: response(holder, now) };
    }
    const twin = findTwin(now, request);
    if (twin !== undefined)
      return { outcome: "twin", record: toRecord(twin, now), response: response(twin, now) };
    if (!request.admitNew) return { outcome: "not_admitted" };
    const known = findPayer.get(payer, now, payer, maxInFlight, payer, now);
    if ((known?.in_flight ?? 0) >= maxInFlight) return { outcome: "too_many_in_flight" };
    if (holder !== undefined) dropIdentifier.run(holder.seq);
    return { outcome: "claimed", ...open(now, request, earlier), upfront: known?.has_strike === 1 };
  };
}

interface Opened {
  readonly fence: number;
  readonly createdAt: number;
}

/** Inserts the record, or re-opens the earlier one with the next fence. */
function createOpener(
  db: Database.Database,
): (now: number, request: ClaimRequest, earlier: PaymentRow | undefined) => Opened {
  const upsert = db.prepare(
    `INSERT INTO payment (id, state, fence, lease_until, fingerprint, payer, amount, asset, pay_to, network,
         x402_version, route, memo, fee_payer, claim_height, identifier, beneficiary, asset_amount, topup, watched,
         created_at, updated_at)
       VALUES (?, 'open', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)
       ON CONFLICT (id) DO UPDATE SET state = 'open', fence = fence + 1, lease_until = excluded.lease_until,
         fingerprint = excluded.fingerprint, payer = excluded.payer, amount = excluded.amount, asset = excluded.asset,
         pay_to = excluded.pay_to, network = excluded.network, x402_version = excluded.x402_version,
         route = excluded.route, memo = excluded.memo, fee_payer = excluded.fee_payer,
         claim_height = excluded.claim_height, identifier = excluded.identifier,
         beneficiary = excluded.beneficiary, asset_amount = excluded.asset_amount, topup = excluded.topup, tx = NULL, reason = NULL,
         orphaned = 0, servings = 0,
         updated_at = excluded.updated_at`,
  );
  return (now, request, earlier) => {
    upsert.run(
      request.id,
      now + request.leaseMs,
      request.fingerprint,
      request.payer,
      request.amount,
      request.asset,
      request.payTo,
      request.network,
      request.x402Version,
      request.route,
      request.memo,
      request.feePayer,
      request.claimHeight ?? null,
      request.identifierHash ?? null,
      request.beneficiary ?? null,
      storedAssetAmount(request),
      request.isTopUp ? 1 : 0,
      now,
      now,
    );
    if (earlier === undefined) return { fence: 1, createdAt: now };
    return { fence: earlier.fence + 1, createdAt: earlier.created_at };
  };
}
