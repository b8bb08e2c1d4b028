import { z } from "zod";
import type { ClaimOutcome, ClaimRequest, Ledger, PaymentPage, PaymentRecord, Step } from "./ledger.ts";
import { readPayment, rowAndTime, rowsAndTime } from "./redis-rows.ts";
import { missing, onShardOf, onShards, type RedisStore, readScores, takeLowest } from "./redis-store.ts";
import { factsOf } from "./redis-usage.ts";
import type { KeepResponse, SealedResponse } from "./sealed-response.ts";
import { storedAssetAmount } from "./stored-payment.ts";

type PaymentLedger = Pick<
  Ledger,
  | "claim"
  | "resume"
  | "renew"
  | "beginSettle"
  | "orphan"
  | "settled"
  | "unknown"
  | "release"
  | "deliver"
  | "park"
  | "takeUndecided"
  | "listUndecided"
  | "takeAbandoned"
  | "payment"
  | "payments"
  | "sweepResponses"
>;

const step = z.enum(["ok", "lost"]);
const beginning = z.enum(["ok", "lost", "twin"]);
const listed = z.tuple([z.array(z.array(z.string())), z.string(), z.number()]);
const ids = z.array(z.string());
const claimReply = z.tuple([
  z.string(),
  z.coerce.number(),
  z.enum(["0", "1"]),
  z.string().nullable(),
  z.array(z.string()).nullable(),
  z.number(),
]);

/** Keyless payments: each step one script on the shard of the payer. */
export function createRedisPayments(store: RedisStore): PaymentLedger {
  const { link, shards, payments } = store;

  /** A step of a payment; `none` where there is no such record. */
  const on = <T>(id: string, none: T, ask: (shard: number) => Promise<T>): Promise<T> =>
    onShardOf(payments, id, none, ask);
  const stepOf = (script: string, id: string, fence: number, ...args: readonly (string | number)[]) =>
    on<Step>(id, "lost", async (shard) => step.parse(await link.run(script, shard, id, fence, ...args)));
  const keeping = (keep: KeepResponse | undefined) => [
    keep === undefined ? "" : Buffer.from(keep.sealed).toString("base64"),
    keep?.ttlMs ?? 0,
    store.responseBudget,
  ];
  const take = async (name: string, id: string, ...args: readonly (string | number)[]) =>
    on<{ fence: number; record: PaymentRecord } | "lost">(id, "lost", async (shard) => {
      const reply = rowAndTime.parse(await link.run(name, shard, id, ...args));
      if (reply === undefined) return "lost";
      const record = readPayment(...reply);
      return { fence: record.fence, record };
    });

  return {
    async claim(request) {
      const shard = shards.ofPayer(request.payer);
      payments.remember(request.id, shard);
      const reply = claimReply.parse(await link.run("claim", shard, ...claimArguments(request)));
      const outcome = readClaim(reply);
      if ("record" in outcome) payments.remember(outcome.record.id, shard);
      return outcome;
    },
    resume: (id, ...args) => take("resume", id, ...args),
    renew: (leases, leaseMs) => renew(store, leases, leaseMs),
    beginSettle: (id, fence, leaseMs) =>
      on<Step | "twin">(id, "lost", async (shard) =>
        beginning.parse(await link.run("begin-settle", shard, id, fence, leaseMs)),
      ),
    orphan: (id, fence) => stepOf("orphan", id, fence),
    settled: (id, fence, transaction, keep) => stepOf("settled", id, fence, transaction, ...keeping(keep)),
    unknown: (id, fence, reason, transaction) => stepOf("unknown", id, fence, reason, transaction ?? ""),
    release: (id, fence, { reason, watched, strikeMs }) =>
      stepOf("release", id, fence, reason, watched ? 1 : 0, strikeMs),
    deliver: (id, fence, keep, usage) =>
      stepOf("finish", id, fence, "delivered", ...keeping(keep), ...usageArguments(usage)),
    park: (id, fence, keep) =>
      stepOf("finish", id, fence, "settled", ...keeping(keep), ...usageArguments(undefined)),
    takeUndecided: (id, height, leaseMs) => take("take-undecided", id, String(height), leaseMs),
    listUndecided: (limit) => listUndecided(store, limit),
    takeAbandoned: (idleMs, leaseMs, limit) =>
      takeLowest(store, "idle", { ageMs: idleMs, limit }, async (shard, members) =>
        readAll(store, shard, await link.sweep("take-abandoned", shard, idleMs, leaseMs, ...members)),
      ),
    payment(id, payer) {
      const read = async (shard: number) => {
        const reply = rowAndTime.parse(await link.run("read-payment", shard, id));
        const record = reply === undefined ? undefined : readPayment(...reply);
        return payer === undefined || record?.payer === payer ? record : undefined;
      };
      if (payer !== undefined) return read(shards.ofPayer(payer));
      return on<PaymentRecord | undefined>(id, undefined, read);
    },
    payments: (after, limit) => listPayments(store, after, limit),
    async sweepResponses() {
      const dropped = await onShards(shards, async (shard) => sweepShard(store, shard));
      return dropped.reduce((total, each) => total + each, 0);
    },
  };
}

function claimArguments(request: ClaimRequest): readonly (string | number)[] {
  return [
    request.id,
    request.fingerprint,
    request.payer,
    String(request.amount),
    request.asset,
    request.payTo,
    request.network,
    request.x402Version,
    request.route,
    request.memo,
    request.feePayer,
    request.claimHeight === undefined ? "" : String(request.claimHeight),
    request.identifierHash ?? "",
    request.admitNew ? 1 : 0,
    request.leaseMs,
    request.maxInFlight,
    request.beneficiary ?? "",
    storedAssetAmount(request) ?? "",
    request.isTopUp ? 1 : 0,
  ];
}

function readClaim([name, fence, upfront, sealed, row, now]: z.infer<typeof claimReply>): ClaimOutcome {
  if (name === "claimed") return { outcome: name, fence, upfront: upfront === "1", createdAt: now };
  if (name === "trimmed" || name === "not_admitted" || name === "too_many_in_flight")
    return { outcome: name };
  const record = readPayment(row, now);
  const response = readSealed(sealed);
  switch (name) {
    case "resumed":
      return { outcome: name, fence, record, response };
    case "delivered":
    case "identifier_replay":
    case "twin":
      return { outcome: name, record, response };
    case "in_progress":
    case "used":
    case "undecided":
    case "credited":
    case "identifier_conflict":
      return { outcome: name, record };
    default:
      throw new Error(`A claim came to ${name}.`);
  }
}

/** Empty facts: there is no record to write. */
function usageArguments(usage: Parameters<Ledger["deliver"]>[3]): readonly string[] {
  if (usage === undefined) return ["", "", "", "0"];
  const { facts, charged } = usage;
  return [facts.account ?? "", facts.keyId ?? "", factsOf(facts), String(charged)];
}

/** A stored answer as the scripts give it; undefined: there is none. */
export function readSealed(sealed: string | null): SealedResponse | undefined {
  return sealed === null ? undefined : { sealed: Buffer.from(sealed, "base64") };
}

async function renew(
  { link, payments }: RedisStore,
  leases: readonly { readonly id: string; readonly fence: number }[],
  leaseMs: number,
): Promise<readonly string[]> {
  return missing(payments, leases, async (shard, some) => {
    const words = some.flatMap(({ id, fence }) => [id, fence]);
    return ids.parse(await link.run("renew", shard, leaseMs, ...words));
  });
}

/** The oldest of all shards: each may have all of them, so no more is read of most than where they stand. */
async function listUndecided(store: RedisStore, limit: number): Promise<readonly PaymentRecord[]> {
  const { link, shards } = store;
  const listed = await onShards(shards, async (shard) =>
    readScores(ids.parse(await link.sweep("list-undecided", shard, limit)), shard),
  );
  const first = listed
    .flat()
    .sort((a, b) => a.score - b.score)
    .slice(0, limit);
  const found = await onShards(shards, async (shard) => {
    const some = first.filter((each) => each.shard === shard).map(({ member }) => member);
    if (some.length === 0) return [];
    return readAll(store, shard, await link.sweep("read-payments", shard, ...some));
  });
  return found.flat().sort((a, b) => Number(a.watched) - Number(b.watched) || a.updatedAt - b.updatedAt);
}

/** Shard after shard; `after` is `<shard>:<place in it>`. */
async function listPayments(
  { link, shards }: RedisStore,
  after: string | undefined,
  limit: number,
): Promise<PaymentPage> {
  const [shard = 0, place = 0] = (after ?? "0:0").split(":").map(Number);
  const [rows, last, now] = listed.parse(await link.sweep("list-payments", shard, place, limit));
  const records = rows.map((row) => readPayment(row, now));
  if (rows.length === limit) return { records, next: `${shard}:${last}` };
  return { records, next: shard + 1 < shards.all.length ? `${shard + 1}:0` : undefined };
}

function readAll({ payments }: RedisStore, shard: number, reply: unknown): readonly PaymentRecord[] {
  const [rows, now] = rowsAndTime.parse(reply);
  return rows.map((row) => {
    const record = readPayment(row, now);
    payments.remember(record.id, shard);
    return record;
  });
}

async function sweepShard({ link }: RedisStore, shard: number): Promise<number> {
  let total = 0;
  for (;;) {
    const dropped = z.number().parse(await link.sweep("sweep-responses", shard));
    if (dropped === 0) return total;
    total += dropped;
  }
}
