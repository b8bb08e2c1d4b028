import { z } from "zod";
import type { AccountLedger, JournalEntry, JournalPage } from "./account-ledger.ts";
import { LedgerFault } from "./ledger.ts";
import { fields, readAccount } from "./redis-rows.ts";
import { shardKey } from "./redis-shards.ts";
import { onShards, type RedisStore } from "./redis-store.ts";

const creation = z.enum(["created", "exists"]);
const crediting = z.tuple([
  z.enum(["credited", "repeated", "conflict", "not_found"]),
  z.string().transform(BigInt),
]);
const row = z.array(z.string()).nullable();
const stream = z.array(z.tuple([z.string(), fields]));
/** A journal entry as it is stored; `key` "": no key spent it. */
export const journalEntry = z.object({
  reference: z.string(),
  kind: z.enum(["owed_credit", "topup", "credit", "capture"]),
  key: z.string(),
  amount: z.string().transform(BigInt),
  balance: z.string().transform(BigInt),
  at: z.coerce.number(),
});
/** Entries read at a time: a long journal must not hold up Redis. */
const PAGE = 1_000;

/** Accounts, their balances, credits and journals. */
export function createRedisAccounts(
  store: RedisStore,
): Pick<
  AccountLedger,
  | "createAccount"
  | "accounts"
  | "account"
  | "balance"
  | "journal"
  | "journalPage"
  | "paidInPage"
  | "creditAccount"
> {
  const { link, shards } = store;
  const read = async (id: string) => {
    const found = row.parse(await link.run("read-account", shards.ofAccount(id), id));
    return found === null ? undefined : readAccount(found);
  };
  return {
    createAccount: async (id, name) =>
      creation.parse(await link.run("create-account", shards.ofAccount(id), id, name)),
    async accounts() {
      const found = await onShards(shards, async (shard) =>
        z.array(z.unknown()).parse(await link.sweep("list-accounts", shard)),
      );
      return found
        .flat()
        .map(readAccount)
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
    },
    account: read,
    balance: async (id) => (await read(id))?.balance ?? 0n,
    async journal(account) {
      const entries: JournalEntry[] = [];
      for await (const { key: _key, ...found } of readJournal(store, account, "-", "+")) {
        entries.push({ account, ...found });
      }
      return entries;
    },
    async journalPage(account, before, limit) {
      const page = await readBackwards(store, account, before, limit);
      return {
        entries: page.map(({ entry }) => entry),
        next: page.length < limit ? undefined : page.at(-1)?.id,
      };
    },
    paidInPage: (account, before, limit) => paidInPage(store, account, before, limit),
    async creditAccount(account, amount, reference) {
      if (amount <= 0n) throw new LedgerFault("A credit must be more than nothing.");
      const [outcome, balance] = crediting.parse(
        await link.run(
          "credit-account",
          shards.ofAccount(account),
          account,
          String(amount),
          `credit:${reference}`,
          "credit",
        ),
      );
      return { outcome, balance };
    },
  };
}

interface Placed {
  /** Its place in the journal. */
  readonly id: string;
  readonly entry: JournalEntry;
}

/** Newest first; `before` that is no place in a journal finds nothing. */
async function readBackwards(
  store: RedisStore,
  account: string,
  before: string | undefined,
  limit: number,
): Promise<readonly Placed[]> {
  if (before !== undefined && !/^\d{1,15}-\d{1,15}$/.test(before)) return [];
  const key = journalKey(store, account);
  const end = before === undefined ? "+" : `(${before}`;
  const page = stream.parse(
    await store.link.ask((client) => client.xrevrange(key, end, "-", "COUNT", limit)),
  );
  return page.map(([id, found]) => {
    const { key: _key, ...read } = journalEntry.parse(found);
    return { id, entry: { account, ...read } };
  });
}

/** At most so many parts of a journal are looked through for one page. */
const MAX_ROUNDS = 5;

async function paidInPage(
  store: RedisStore,
  account: string,
  before: string | undefined,
  limit: number,
): Promise<JournalPage> {
  const entries: JournalEntry[] = [];
  let next = before;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const part = await readBackwards(store, account, next, PAGE);
    for (const { id, entry } of part) {
      if (entries.length === limit) return { entries, next };
      next = id;
      if (entry.kind === "owed_credit" || entry.kind === "topup") entries.push(entry);
    }
    if (part.length < PAGE) return { entries, next: undefined };
  }
  return { entries, next };
}

/** A journal's entries from one id to another, both included, oldest first. It only grows at its end. */
export async function* readJournal(
  store: RedisStore,
  account: string,
  from: string,
  to: string,
): AsyncGenerator<z.infer<typeof journalEntry>> {
  const { link } = store;
  const key = journalKey(store, account);
  let start = from;
  for (;;) {
    const begin = start;
    const page = stream.parse(await link.askEach((client) => client.xrange(key, begin, to, "COUNT", PAGE)));
    for (const [, found] of page) yield journalEntry.parse(found);
    const last = page.at(-1)?.[0];
    if (last === undefined || page.length < PAGE) return;
    start = `(${last}`;
  }
}

function journalKey({ shards }: RedisStore, account: string): string {
  return `${shardKey(shards.ofAccount(account))}:journal:${account}`;
}
