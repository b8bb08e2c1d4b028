import { z } from "zod";
import type { Discrepancy } from "./account-ledger.ts";
import { readJournal } from "./redis-accounts.ts";
import { fields, readAccount } from "./redis-rows.ts";
import { shardKey } from "./redis-shards.ts";
import { onShards, type RedisStore } from "./redis-store.ts";

const money = z.string().transform(BigInt);
const snapshot = z
  .tuple([
    z.array(z.string()),
    z.string(),
    z.array(z.tuple([z.string(), money, money])),
    money,
    fields,
    fields,
  ])
  .nullable();

/**
 * Recomputes what is kept as a sum. Each account is looked at in one step, together with where its journal ended and what was trimmed
 * of it; the journal up to there cannot change any more, except that it is trimmed, and is read in parts, so that a long one holds
 * nobody up. Where it was trimmed meanwhile the account is looked at again.
 */
export async function checkRedisAccounts(store: RedisStore): Promise<readonly Discrepancy[]> {
  const found: Discrepancy[] = [];
  await onShards(store.shards, async (shard) => {
    const listed = z.array(z.unknown()).parse(await store.link.sweep("list-accounts", shard));
    for (const { id } of listed.map(readAccount)) found.push(...(await checkAccount(store, shard, id)));
  });
  return found;
}

async function checkAccount(store: RedisStore, shard: number, id: string): Promise<readonly Discrepancy[]> {
  for (;;) {
    const { found, trimmed } = await lookAt(store, shard, id);
    const key = `${shardKey(shard)}:exported:${id}`;
    const now = z.string().nullable();
    const after = now.parse(await store.link.askEach((client) => client.hget(key, "trimmed")));
    if ((after ?? undefined) === trimmed) return found;
  }
}

interface Look {
  readonly found: readonly Discrepancy[];
  /** How many entries were trimmed when it began; undefined: none. */
  readonly trimmed: string | undefined;
}

async function lookAt(store: RedisStore, shard: number, id: string): Promise<Look> {
  const seen = snapshot.parse(await store.link.sweep("snapshot-account", shard, id));
  if (seen === null) return { found: [], trimmed: undefined };
  const [row, last, keys, holdSum, holdsByKey, exported] = seen;
  const account = readAccount(row);
  let balance = BigInt(exported["balance"] ?? 0);
  const usage = new Map<string, bigint>();
  for await (const { amount, key } of readJournal(store, id, "-", last)) {
    balance += amount;
    if (key !== "") usage.set(key, (usage.get(key) ?? 0n) - amount);
  }
  const compare = (
    problem: Discrepancy["problem"],
    keyId: string | undefined,
    recorded: bigint,
    computed: bigint,
  ): readonly Discrepancy[] =>
    recorded === computed ? [] : [{ account: id, keyId, problem, recorded, computed }];
  const found = [
    ...compare("balance_is_not_its_journal", undefined, account.balance, balance),
    ...compare("held_is_not_its_holds", undefined, account.held, holdSum),
    ...keys.flatMap(([key, held, used]) => [
      ...compare("held_is_not_its_holds", key, held, BigInt(holdsByKey[key] ?? 0)),
      ...compare(
        "usage_is_not_its_journal",
        key,
        used,
        (usage.get(key) ?? 0n) + BigInt(exported[`key:${key}`] ?? 0),
      ),
    ]),
    ...(account.held > account.balance
      ? compare("held_exceeds_balance", undefined, account.held, account.balance)
      : []),
  ];
  return { found, trimmed: exported["trimmed"] };
}
