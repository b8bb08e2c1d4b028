import { z } from "zod";
import { demandTrimAge, type ExportKind, type ExportLedger } from "./export-ledger.ts";
import { LedgerFault } from "./ledger.ts";
import { shardKey } from "./redis-shards.ts";
import type { RedisStore } from "./redis-store.ts";

/** Records that one script deletes: a call waits for no more than this. */
const BATCH = 200;
/** Accounts whose journals one script looks at. */
const ACCOUNTS = 20;
const names = z.array(z.string());
const counts = z.array(z.number());
const payments = z.tuple([z.number(), z.number()]);

type Trim = (store: RedisStore, shard: number, olderThanMs: number) => Promise<number>;

const TRIMS: Readonly<Record<ExportKind, Trim>> = {
  journal: trimJournals,
  payments: trimPayments,
  usage: trimUsage,
};

/** Deletes what was exported and is old, shard after shard, so that calls come in between. */
export function createRedisTrim(store: RedisStore): Pick<ExportLedger, "trimExported"> {
  return {
    async trimExported(kind, olderThanMs) {
      try {
        demandTrimAge(olderThanMs);
      } catch (cause) {
        throw new LedgerFault("It is too early to trim.", { cause });
      }
      let total = 0;
      for (const shard of store.shards.all) total += await TRIMS[kind](store, shard, olderThanMs);
      return total;
    },
  };
}

async function trimJournals({ link }: RedisStore, shard: number, olderThanMs: number): Promise<number> {
  const key = `${shardKey(shard)}:accounts`;
  const accounts = names.parse(await link.askEach((client) => client.smembers(key)));
  let total = 0;
  for (let start = 0; start < accounts.length; start += ACCOUNTS) {
    let some = accounts.slice(start, start + ACCOUNTS);
    while (some.length > 0) {
      const share = Math.ceil(BATCH / some.length);
      const trimmed = counts.parse(await link.sweep("trim-journals", shard, olderThanMs, share, ...some));
      total += trimmed.reduce((sum, each) => sum + each, 0);
      some = some.filter((_, index) => trimmed[index] === share);
    }
  }
  return total;
}

async function trimPayments({ link }: RedisStore, shard: number, olderThanMs: number): Promise<number> {
  let total = 0;
  for (;;) {
    const [deleted, seen] = payments.parse(await link.sweep("trim-payments", shard, olderThanMs, BATCH));
    total += deleted;
    if (seen < BATCH) return total;
  }
}

async function trimUsage({ link }: RedisStore, shard: number, olderThanMs: number): Promise<number> {
  let total = 0;
  for (;;) {
    const deleted = z.number().parse(await link.sweep("trim-usage", shard, olderThanMs, BATCH));
    total += deleted;
    if (deleted < BATCH) return total;
  }
}
