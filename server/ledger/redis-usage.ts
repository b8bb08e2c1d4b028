import { z } from "zod";
import type { CallLedger, UsageFacts, UsageFilter, UsageRecord } from "./call-ledger.ts";
import type { Shards } from "./redis-shards.ts";
import { onShards, type RedisStore } from "./redis-store.ts";

const money = z.string().transform(BigInt);
const facts = z.object({
  tier: z.enum(["x402", "key", "internal"]),
  account: z.string().optional(),
  keyId: z.string().optional(),
  keyLabel: z.string().optional(),
  payer: z.string().optional(),
  route: z.string(),
  model: z.string().optional(),
  provider: z.string().optional(),
  promptTokens: z.number().optional(),
  completionTokens: z.number().optional(),
  estimated: z.boolean(),
  held: money,
  upstreamCost: money.optional(),
  status: z.number().optional(),
  upstreamStatus: z.number().optional(),
  ms: z.number(),
  transaction: z.string().optional(),
  notCharged: z.string().optional(),
});
/** A usage record as the scripts give it. Throws ZodError. */
export const usageRecord = z
  .tuple([z.coerce.number(), z.coerce.number(), money, z.string()])
  .transform(([id, at, charged, text]): UsageRecord => ({ id, at, charged, ...readFacts(text) }));
const page = z.tuple([z.string().nullable(), z.array(usageRecord)]);

/** Records read at a time where those of one model are asked for. */
const MODEL_PAGE = 200;

/** A call's facts as they are stored; Redis does not look into them. */
export function factsOf(usage: UsageFacts): string {
  return JSON.stringify({ ...usage, ms: Math.round(usage.ms) }, (_name, value: unknown) =>
    typeof value === "bigint" ? String(value) : value,
  );
}

/** Beside what it belongs to; a call of nobody's goes anywhere. */
export function shardOfUsage(shards: Shards, { account, payer }: UsageFacts): number {
  if (account !== undefined) return shards.ofAccount(account);
  if (payer !== undefined) return shards.ofPayer(payer);
  return shards.any();
}

/** Usage records, newest first. */
export function usageReader(store: RedisStore): CallLedger["usage"] {
  return async (filter) => {
    const { account, limit } = filter;
    const ask = (shard: number) => ofShard(store, shard, filter);
    const { shards } = store;
    const found =
      account === undefined ? await onShards(shards, ask) : [await ask(shards.ofAccount(account))];
    return found
      .flat()
      .sort((a, b) => b.id - a.id)
      .slice(0, limit);
  };
}

/** A script looks at a bounded number of records, so that no search holds up Redis. */
async function ofShard(
  { link }: RedisStore,
  shard: number,
  { account, keyId, model, since, before, limit }: UsageFilter,
): Promise<readonly UsageRecord[]> {
  const records: UsageRecord[] = [];
  let below: string | null = String(before ?? Number.MAX_SAFE_INTEGER);
  while (below !== null && records.length < limit) {
    // Redis does not look into the facts: those of other models come along and are left out here.
    const most = model === undefined ? limit - records.length : MODEL_PAGE;
    const words = [account ?? "", keyId ?? "", since ?? 0, below, most];
    const [next, found]: z.infer<typeof page> = page.parse(await link.sweep("read-usage", shard, ...words));
    records.push(...found.filter((usage) => model === undefined || usage.model === model));
    const last = found.length < most ? undefined : found.at(-1)?.id;
    below = last === undefined ? next : String(last);
  }
  return records;
}

function readFacts(text: string): UsageFacts {
  const read = facts.parse(JSON.parse(text));
  return {
    ...read,
    account: read.account,
    keyId: read.keyId,
    keyLabel: read.keyLabel,
    payer: read.payer,
    model: read.model,
    provider: read.provider,
    promptTokens: read.promptTokens,
    completionTokens: read.completionTokens,
    upstreamCost: read.upstreamCost,
    status: read.status,
    upstreamStatus: read.upstreamStatus,
    transaction: read.transaction,
    notCharged: read.notCharged,
  };
}
