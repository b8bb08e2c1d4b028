import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { account } from "./customers.ts";
import { openRedis } from "./open-redis.ts";

let server: RedisServer;
let admin: Redis;
let ledger: Ledger;
beforeAll(async () => {
  server = await startRedis();
  admin = new Redis(server.url);
  ledger = await openRedis(server.url, { shards: 1 });
});
afterAll(async () => {
  await ledger.close();
  admin.disconnect();
  await server.stop();
});

async function references(): Promise<{ found: readonly string[]; marks: readonly string[] }> {
  const { records, marks } = await ledger.unexported("journal", undefined, 1_000);
  const found = records.map((record) => (record.kind === "journal" ? record.entry.reference : ""));
  return { found, marks };
}

test("journal entries of one millisecond are each exported once, wherever the mark falls between them", async () => {
  const id = await account(ledger, 5n);
  const journal = `fb:{0}:journal:${id}`;
  const [[last = ""] = []] = await admin.xrevrange(journal, "+", "-", "COUNT", 1);
  const [ms, sequence] = last.split("-");
  const later = [
    "reference",
    "credit:later",
    "kind",
    "credit",
    "key",
    "",
    "amount",
    "1",
    "balance",
    "6",
    "at",
    `${ms}`,
  ];
  const before = await references();
  expect(before.found).toEqual(["credit:first"]);
  // After the page was read and before it is marked.
  await admin.xadd(journal, `${ms}-${Number(sequence) + 1}`, ...later);
  await ledger.markExported("journal", before.marks);
  const after = await references();
  expect(after.found).toEqual(["credit:later"]);
  await ledger.markExported("journal", after.marks);
  expect((await references()).found).toEqual([]);
});

test("a journal longer than what is read at a time is read once, and is its balance", async () => {
  const id = await account(ledger, 0n);
  for (let made = 0; made < 2_100; made += 300) {
    const references = Array.from({ length: 300 }, (_, index) => `invoice ${made + index}`);
    await Promise.all(references.map((reference) => ledger.creditAccount(id, 1n, reference)));
  }
  const entries = await ledger.journal(id);
  expect(new Set(entries.map(({ reference }) => reference)).size).toBe(2_100);
  expect(entries).toHaveLength(2_100);
  expect(entries.at(-1)?.balance).toBe(2_100n);
  const wrong = (await ledger.checkAccounts()).filter(({ account: of }) => of === id);
  expect(wrong).toEqual([]);
});
