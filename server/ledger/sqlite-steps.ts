import type Database from "better-sqlite3";
import type { PaymentState, Step } from "./ledger.ts";
import type { KeepResponse } from "./sealed-response.ts";
import { createCrediter } from "./sqlite-accounts.ts";
import type { Handlers } from "./sqlite-messages.ts";
import {
  createStrike,
  createTwinReader,
  PAYMENT_COLUMNS,
  type PaymentRow,
  selectPayment,
} from "./sqlite-rows.ts";
import { createUsageWriter } from "./sqlite-usage.ts";

/**
 * The steps of a call that holds its payment. Each is a compare-and-swap on (state, fence).
 *
 * A lease that ran out but was not taken over does not stop its holder: the fence alone tells. A lease that was dropped
 * does: after `unknown`, `park` or `decide` the old fence changes nothing more.
 */
export function createSteps(
  db: Database.Database,
): Pick<
  Handlers,
  "beginSettle" | "orphan" | "settled" | "unknown" | "release" | "deliver" | "park" | "credit"
> {
  const orphan = db.prepare<[string, number]>(
    `UPDATE payment SET orphaned = 1
     WHERE id = ? AND state IN ('settling', 'settled') AND fence = ? AND lease_until IS NOT NULL`,
  );
  const settled = db.prepare<[string, number, string, number]>(
    `UPDATE payment SET state = 'settled', tx = ?, watched = 0, updated_at = ? WHERE ${held("settling")}`,
  );
  const unknown = db.prepare<[string, string | null, number, string, number]>(
    `UPDATE payment SET state = 'unknown', reason = ?, tx = ?, watched = 0, lease_until = NULL, updated_at = ?
     WHERE ${held("settling")}`,
  );
  const deliver = db.prepare<[number, string, number]>(
    `UPDATE payment SET state = 'delivered', lease_until = NULL, updated_at = ? WHERE ${held("settled")}`,
  );
  const park = db.prepare<[number, string, number]>(
    `UPDATE payment SET lease_until = NULL, updated_at = ? WHERE ${held("settled")}`,
  );
  const credited = db.prepare<[string, number, string, number], PaymentRow>(
    `UPDATE payment SET state = 'credited', reason = ?, lease_until = NULL, updated_at = ?
     WHERE ${held("settled")} RETURNING ${PAYMENT_COLUMNS}`,
  );
  const forgetResponse = db.prepare<[number]>("DELETE FROM response WHERE payment = ?");
  const keepResponse = createKeeper(db);
  const credit = createCrediter(db);
  const writeUsage = createUsageWriter(db);

  return {
    beginSettle: createBeginning(db),
    orphan: (_now, id, fence) => step(orphan.run(id, fence)),
    unknown: (now, id, fence, reason, transaction) =>
      step(unknown.run(reason, transaction ?? null, now, id, fence)),
    release: createRelease(db),

    settled(now, id, fence, transaction, keep) {
      const done = step(settled.run(transaction, now, id, fence));
      if (done === "ok" && keep !== undefined) keepResponse(now, id, keep);
      return done;
    },

    deliver(now, id, fence, keep, usage) {
      const done = step(deliver.run(now, id, fence));
      if (done === "ok" && keep !== undefined) keepResponse(now, id, keep);
      if (done === "ok" && usage !== undefined) writeUsage(now, undefined, usage.facts, usage.charged, 0n);
      return done;
    },

    park(now, id, fence, keep) {
      const done = step(park.run(now, id, fence));
      if (done === "ok" && keep !== undefined) keepResponse(now, id, keep);
      return done;
    },

    /** A response parked earlier goes too: what is owed is not served again. */
    credit(now, id, fence, reason) {
      const row = credited.get(reason, now, id, fence);
      if (row === undefined) return "lost";
      credit(now, row);
      forgetResponse.run(row.seq);
      return "ok";
    },
  };
}

/** The last moment at which no money has moved: a twin that turned up since the claim is found here. */
function createBeginning(db: Database.Database): Handlers["beginSettle"] {
  const select = db.prepare<[string, number], Pick<PaymentRow, "seq" | "id" | "payer" | "fingerprint">>(
    `SELECT seq, id, payer, fingerprint FROM payment WHERE ${held("open")}`,
  );
  const begin = db.prepare<[number, number, number]>(
    "UPDATE payment SET state = 'settling', lease_until = ?, updated_at = ? WHERE seq = ?",
  );
  const findTwin = createTwinReader(db);
  return (now, id, fence, leaseMs) => {
    const row = select.get(id, fence);
    if (row === undefined) return "lost";
    if (findTwin(now, row) !== undefined) return "twin";
    begin.run(now + leaseMs, now, row.seq);
    return "ok";
  };
}

/** The guard of a step, bound to (id, fence). */
function held(state: PaymentState): string {
  return `id = ? AND state = '${state}' AND fence = ? AND lease_until IS NOT NULL`;
}

function step(result: Database.RunResult): Step {
  return result.changes === 1 ? "ok" : "lost";
}

/** Frees the record and its identifier, and notes the payer's strike. */
function createRelease(db: Database.Database): Handlers["release"] {
  const select = selectPayment(db);
  const release = db.prepare<[string, number, number, string, number]>(
    `UPDATE payment SET state = 'released', reason = ?, watched = max(watched, ?), identifier = NULL, lease_until = NULL, updated_at = ?
     WHERE id = ? AND state IN ('open', 'settling') AND fence = ? AND lease_until IS NOT NULL`,
  );
  const strike = createStrike(db);
  return (now, id, fence, { reason, watched, strikeMs }) => {
    const done = step(release.run(reason, watched ? 1 : 0, now, id, fence));
    const row = done === "ok" && strikeMs > 0 ? select.get(id) : undefined;
    if (row !== undefined) strike(now, row.payer, strikeMs);
    return done;
  };
}

/** Stores the sealed response of a payment, in the place of an earlier one. */
function createKeeper(db: Database.Database): (now: number, id: string, keep: KeepResponse) => void {
  const store = db.prepare<[Uint8Array, number, string]>(
    `INSERT INTO response (payment, sealed, expires_at) SELECT seq, ?, ? FROM payment WHERE id = ?
     ON CONFLICT (payment) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at`,
  );
  return (now, id, keep) => {
    store.run(keep.sealed, now + keep.ttlMs, id);
  };
}
