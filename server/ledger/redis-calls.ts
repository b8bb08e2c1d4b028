import { z } from "zod";
import { LIMIT_RESETS } from "./account-ledger.ts";
import type { CallLedger, HoldOutcome, HoldRequest, RateState } from "./call-ledger.ts";
import { LedgerFault } from "./ledger.ts";
import { limitPeriod } from "./limit-period.ts";
import type { KeyHomes } from "./redis-keys.ts";
import { readSealed } from "./redis-payments.ts";
import { readProviderKey } from "./redis-provider-keys.ts";
import { missing, onShards, type RedisStore } from "./redis-store.ts";
import { factsOf, shardOfUsage, usageReader } from "./redis-usage.ts";
import type { KeepResponse } from "./sealed-response.ts";

const money = z.string().transform(BigInt);
const rate = z.tuple([z.coerce.number(), z.coerce.number(), z.coerce.number()]);
const held = z.tuple([
  z.literal("held"),
  z.string(),
  z.string(),
  z.string(),
  money,
  rate.nullable(),
  z.string().nullable(),
]);
const bare = z.tuple([
  z.enum([
    "unknown",
    "revoked",
    "expired",
    "not_permitted",
    "model_not_allowed",
    "provider_not_allowed",
    "in_progress",
    "idempotency_conflict",
  ]),
]);
const holdReply = z.union([
  held,
  bare,
  z.tuple([z.literal("replay"), z.string().nullable()]),
  z.tuple([z.literal("rate_limited"), rate]),
  z.tuple([z.literal("too_many_concurrent"), z.coerce.number()]),
  z.tuple([z.literal("key_limit_reached"), money, money, money, z.enum(LIMIT_RESETS), z.coerce.number()]),
  z.tuple([z.literal("insufficient_credits"), money, money]),
]);
const captureReply = z.tuple([z.enum(["captured", "repeated"]), money, money]);
const ids = z.array(z.string());

/** Keyed calls: hold and capture are one script each, on the shard of the account. */
export function createRedisCalls(store: RedisStore, homes: KeyHomes): CallLedger {
  const { link, shards, holds } = store;
  const keeping = (keep: KeepResponse | undefined) => [
    keep === undefined ? "" : Buffer.from(keep.sealed).toString("base64"),
    keep?.ttlMs ?? 0,
    store.responseBudget,
  ];

  return {
    async hold(request) {
      const { payer } = request;
      const account =
        payer.kind === "account"
          ? payer.account
          : (homes.known(payer.hash) ?? (await homes.find(payer.hash)));
      if (account === undefined) return { outcome: "unknown" };
      const shard = shards.ofAccount(account);
      holds.remember(request.id, shard);
      return readHold(request, await link.run("hold", shard, ...holdArguments(request)));
    },
    renewHolds: (renewed, leaseMs) =>
      missing(
        holds,
        renewed.map((id) => ({ id })),
        async (shard, some) =>
          ids.parse(await link.run("renew-holds", shard, leaseMs, ...some.map(({ id }) => id))),
      ),
    async capture({ id, account, keyId, cost, usage, keep, idempotency, lowBalance }) {
      if (cost < 0n) throw new LedgerFault("A call cannot cost less than nothing.");
      const words = [
        id,
        account,
        keyId ?? "",
        String(cost),
        String(usage.held),
        factsOf(usage),
        ...keeping(keep),
        lowBalance === undefined ? "" : String(lowBalance),
        idempotency?.hash ?? "",
        idempotency?.fingerprint ?? "",
      ];
      const shard = holds.known(id) ?? shards.ofAccount(account);
      const reply = captureReply.parse(await link.run("capture", shard, ...words));
      const [outcome, charged, shortfall] = reply;
      return { outcome, charged, shortfall };
    },
    async keepAnswer(holdId, keep) {
      const shard = holds.known(holdId);
      if (shard !== undefined) await link.run("keep-answer", shard, holdId, ...keeping(keep));
    },
    async releaseHold(id, usage) {
      const shard = holds.known(id) ?? shardOfUsage(shards, usage);
      const words = [id, usage.account ?? "", usage.keyId ?? "", factsOf(usage)];
      return z.enum(["released", "gone"]).parse(await link.run("release-hold", shard, ...words));
    },
    async refund({ id, account, keyId, usage }) {
      const shard = holds.known(id) ?? shards.ofAccount(account);
      const words = [id, account, keyId ?? "", factsOf(usage)];
      return z.enum(["freed", "answered", "refunded"]).parse(await link.run("refund", shard, ...words));
    },
    async recordUsage(usage, charged) {
      const words = [usage.account ?? "", usage.keyId ?? "", factsOf(usage), String(charged)];
      await link.run("record-usage", shardOfUsage(shards, usage), ...words);
    },
    usage: usageReader(store),
    async sweepHolds() {
      const freed = await onShards(shards, async (shard) =>
        z.number().parse(await link.sweep("sweep-holds", shard)),
      );
      return freed.reduce((total, each) => total + each, 0);
    },
  };
}

function holdArguments(request: HoldRequest): readonly (string | number)[] {
  const { payer, range, ownKeyRange, idempotency } = request;
  return [
    request.id,
    payer.kind,
    payer.kind === "key" ? payer.hash : payer.account,
    request.permission,
    request.model ?? "",
    request.provider ?? "",
    String(range.most),
    String(range.least),
    ownKeyRange === undefined ? "" : String(ownKeyRange.most),
    ownKeyRange === undefined ? "" : String(ownKeyRange.least),
    request.leaseMs,
    idempotency?.hash ?? "",
    idempotency?.fingerprint ?? "",
  ];
}

function readHold(request: HoldRequest, reply: unknown): HoldOutcome {
  const parsed = holdReply.parse(reply);
  switch (parsed[0]) {
    case "held": {
      const [outcome, account, keyId, keyLabel, amount, state, own] = parsed;
      const ofKey = keyId === "" ? undefined : keyId;
      const hold = {
        id: request.id,
        account,
        keyId: ofKey,
        keyLabel: ofKey === undefined ? undefined : keyLabel,
        amount,
        rate: state === null ? undefined : rateState(state),
        providerKey: own === null ? undefined : readProviderKey(own),
      };
      return { outcome, hold };
    }
    case "replay":
      return { outcome: parsed[0], response: readSealed(parsed[1]) };
    case "rate_limited":
      return { outcome: parsed[0], rate: rateState(parsed[1]) };
    case "too_many_concurrent":
      return { outcome: parsed[0], limit: parsed[1] };
    case "key_limit_reached": {
      const [outcome, needed, affordable, limit, reset, now] = parsed;
      return { outcome, needed, affordable, limit, resetsAt: limitPeriod(reset, now).end };
    }
    case "insufficient_credits":
      return { outcome: parsed[0], needed: parsed[1], affordable: parsed[2] };
    default:
      return { outcome: parsed[0] };
  }
}

function rateState([limit, remaining, resetsInMs]: z.infer<typeof rate>): RateState {
  return { limit, remaining, resetsInMs };
}
