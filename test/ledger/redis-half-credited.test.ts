import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ClaimRequest, Ledger } from "../../server/ledger/ledger.ts";
import { readScripts } from "../../server/ledger/redis-scripts.ts";
import { markKey, Shards, shardKey } from "../../server/ledger/redis-shards.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { openRedis } from "./open-redis.ts";
import { bring, createClock, LEASE_MS, randomId, request } from "./world.ts";

const SHARDS = 8;
const shards = new Shards(SHARDS);
const scripts = readScripts();
const clock = createClock();
let server: RedisServer;
let client: Redis;
let ledger: Ledger;

beforeAll(async () => {
  server = await startRedis();
  client = new Redis(server.url);
  ledger = await openRedis(server.url, { clock: clock.now, shards: SHARDS });
});
afterAll(async () => {
  await ledger.close();
  client.disconnect();
  await server.stop();
});

/** One script, as a gateway runs it that dies right after. */
async function run(name: string, shard: number, ...words: readonly (string | number)[]): Promise<unknown> {
  const { source } = scripts.get(name) ?? { source: "" };
  const mark = markKey(shard, (await client.get("fb:id:{fb:ledger}")) ?? "");
  return client.eval(source, 2, shardKey(shard), mark, clock.now(), ...words.map(String));
}

const creditAccount = ({ id, amount, beneficiary = "" }: ClaimRequest): Promise<unknown> =>
  run(
    "credit-account",
    shards.ofAccount(beneficiary),
    beneficiary,
    String(amount),
    `payment:${id}`,
    "owed_credit",
  );

/** A payment whose beneficiary is in another shard than its payer. */
async function elsewhere(): Promise<ClaimRequest> {
  for (;;) {
    const asked = request({ beneficiary: `acct_${randomId().slice(0, 16)}` });
    if (shards.ofAccount(asked.beneficiary ?? "") === shards.ofPayer(asked.payer)) continue;
    await ledger.createAccount(asked.beneficiary ?? "", "Beneficiary");
    return asked;
  }
}

/** Where a gateway can die between the first and the last script of a credit. */
const DEATHS: readonly { readonly name: string; die(asked: ClaimRequest): Promise<unknown> }[] = [
  {
    name: "the account credited, the record not",
    async die(asked) {
      await bring(ledger, asked, "settled");
      return creditAccount(asked);
    },
  },
  {
    name: "landed late and settled, the account not credited",
    async die(asked) {
      const fence = await bring(ledger, asked, "taken_watched");
      return run("decide", shards.ofPayer(asked.payer), asked.id, fence, "settled", "late", "");
    },
  },
  {
    name: "landed late, settled and the account credited, the record not",
    async die(asked) {
      const fence = await bring(ledger, asked, "taken_watched");
      await run("decide", shards.ofPayer(asked.payer), asked.id, fence, "settled", "late", "");
      return creditAccount(asked);
    },
  },
  {
    name: "found on the chain and settled, the account not credited",
    async die(asked) {
      await bring(ledger, asked, "released");
      const { id, payer, amount, asset, payTo, network, memo, feePayer } = asked;
      const words = [id, payer, String(amount), asset, payTo, network, memo, feePayer, "late", "found"];
      return run("credit-transfer", shards.ofPayer(payer), ...words, LEASE_MS);
    },
  },
];

async function expectCreditedOnce(asked: ClaimRequest): Promise<void> {
  const account = asked.beneficiary ?? "";
  expect(await ledger.payment(asked.id)).toMatchObject({ state: "credited", beneficiary: account });
  expect(await ledger.journal(account)).toMatchObject([{ reference: `payment:${asked.id}` }]);
  expect(await ledger.balance(account)).toBe(asked.amount);
  expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(0n);
}

describe.each(DEATHS)("a gateway died with $name", ({ die }) => {
  test("the record can be claimed by nobody else, and the sweep credits it once", async () => {
    const asked = await elsewhere();
    expect(await die(asked)).toBeInstanceOf(Array);
    expect((await ledger.claim(asked)).outcome).toBe("in_progress");
    expect((await ledger.claim({ ...asked, fingerprint: randomId() })).outcome).toBe("used");
    clock.pass(LEASE_MS);
    const [taken] = await ledger.takeAbandoned(0, LEASE_MS, 1);
    expect(taken?.id).toBe(asked.id);
    expect(await ledger.credit(asked.id, taken?.fence ?? 0, "not_collected")).toBe("ok");
    await expectCreditedOnce(asked);
  });

  test("the retry of its client credits it once", async () => {
    const asked = await elsewhere();
    await die(asked);
    clock.pass(LEASE_MS);
    const resumed = await ledger.claim(asked);
    if (resumed.outcome !== "resumed") throw new Error(resumed.outcome);
    expect(await ledger.credit(asked.id, resumed.fence, "topped_up")).toBe("ok");
    await expectCreditedOnce(asked);
    expect(await ledger.creditTransfer({ ...asked, transaction: "late", reason: "found" })).toBe("repeated");
    await expectCreditedOnce(asked);
  });
});

test("a record of the release before, without a beneficiary, is the wallet's", async () => {
  const asked = request();
  const fence = await bring(ledger, asked, "settled");
  const key = `${shardKey(shards.ofPayer(asked.payer))}:payment:${asked.id}`;
  expect(await client.hdel(key, "beneficiary")).toBe(1);
  expect((await ledger.payment(asked.id))?.beneficiary).toBeUndefined();
  expect(await ledger.credit(asked.id, fence, "upstream_failed")).toBe("ok");
  expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
});
