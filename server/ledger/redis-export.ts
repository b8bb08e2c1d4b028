import { z } from "zod";
import type { ExportKind, ExportLedger, ExportPage } from "./export-ledger.ts";
import { journalEntry } from "./redis-accounts.ts";
import { fields, readPayment } from "./redis-rows.ts";
import { shardKey } from "./redis-shards.ts";
import { onShards, type RedisStore } from "./redis-store.ts";
import { usageRecord } from "./redis-usage.ts";

/** Payments marked by one script. */
const MARKS_AT_ONCE = 500;
const journals = z.tuple([
  z.array(z.tuple([z.string(), z.string(), fields.transform((row) => journalEntry.parse(row))])),
  z.string().nullable(),
  z.string().nullable(),
]);
const payments = z.tuple([z.array(z.tuple([z.array(z.string()), z.string()])), z.number()]);

/** A page of one shard; `place`: where the walk is in it, "" at its start. `next` undefined: the shard has no more. */
type PageReader = (store: RedisStore, shard: number, place: string, limit: number) => Promise<ExportPage>;

const READERS: Readonly<Record<ExportKind, PageReader>> = {
  journal: journalPage,
  payments: paymentPage,
  usage: usagePage,
};
const MARK_SCRIPTS: Readonly<Record<ExportKind, string>> = {
  journal: "mark-journals",
  payments: "mark-payments",
  usage: "mark-usage",
};

/** The walks over what was not exported, shard after shard, and the marks. Each mark begins with its shard. */
export function createRedisExport(
  store: RedisStore,
): Pick<ExportLedger, "unexported" | "markExported" | "isTrimmed"> {
  const { link, shards } = store;
  return {
    async unexported(kind, after, limit) {
      const [first, ...rest] = (after ?? "0 ").split(" ");
      const shard = Number(first);
      const page = await READERS[kind](store, shard, rest.join(" "), limit);
      const marks = page.marks.map((mark) => `${shard} ${mark}`);
      if (page.next !== undefined) return { ...page, marks, next: `${shard} ${page.next}` };
      return { ...page, marks, next: shard + 1 < shards.all.length ? `${shard + 1} ` : undefined };
    },
    async markExported(kind, marks) {
      const byShard = new Map<number, string[]>();
      for (const mark of marks) {
        const [shard, ...words] = mark.split(" ");
        const known = byShard.get(Number(shard));
        if (known === undefined) byShard.set(Number(shard), words);
        else known.push(...words);
      }
      for (const [shard, words] of byShard) await markShard(store, kind, shard, words);
    },
    async isTrimmed(id) {
      const found = await onShards(shards, (shard) =>
        link.askEach((client) => client.sismember(`${shardKey(shard)}:trimmed`, id)),
      );
      return found.includes(1);
    },
  };
}

async function markShard(
  { link }: RedisStore,
  kind: ExportKind,
  shard: number,
  words: readonly string[],
): Promise<void> {
  // The last mark of a shard's usage counts; the others are pairs.
  const step = kind === "usage" ? words.length : 2 * MARKS_AT_ONCE;
  for (let start = 0; start < words.length; start += step) {
    const some = kind === "usage" ? words.slice(-1) : words.slice(start, start + step);
    await link.sweep(MARK_SCRIPTS[kind], shard, ...some);
  }
}

async function journalPage(
  { link }: RedisStore,
  shard: number,
  place: string,
  limit: number,
): Promise<ExportPage> {
  const [account = "", entry = ""] = place.split(" ");
  const [found, nextAccount, nextEntry] = journals.parse(
    await link.sweep("page-journals", shard, account, entry, limit),
  );
  const last = new Map(found.map(([of, id]) => [of, id]));
  return {
    records: found.map(([of, , { key, ...read }]) => ({
      kind: "journal",
      entry: { account: of, ...read, keyId: key === "" ? undefined : key },
    })),
    marks: [...last].map(([of, id]) => `${of} ${id}`),
    next: nextAccount === null ? undefined : `${nextAccount} ${nextEntry ?? ""}`,
  };
}

async function paymentPage(
  { link }: RedisStore,
  shard: number,
  place: string,
  limit: number,
): Promise<ExportPage> {
  const [found, now] = payments.parse(await link.sweep("page-payments", shard, place, limit));
  const read = found.map(([row, version]) => ({ payment: readPayment(row, now), version }));
  return {
    records: read.map(({ payment }) => ({ kind: "payments", payment })),
    marks: read.map(({ payment, version }) => `${payment.id} ${version}`),
    next: read.length < limit ? undefined : read.at(-1)?.payment.id,
  };
}

async function usagePage(
  { link }: RedisStore,
  shard: number,
  place: string,
  limit: number,
): Promise<ExportPage> {
  const found = z.array(usageRecord).parse(await link.sweep("page-usage", shard, place, limit));
  const last = found.at(-1)?.id;
  return {
    records: found.map((usage) => ({ kind: "usage", usage })),
    marks: last === undefined ? [] : [String(last)],
    next: last === undefined || found.length < limit ? undefined : String(last),
  };
}
