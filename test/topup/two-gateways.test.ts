import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../server/log.ts";
import { type RunningGateway, startGateway } from "../../server/start.ts";
import { openForBusiness } from "../faults/audit.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Answer, expectBooksClosed, openCreditShop, order, type Purchase, read } from "./credit-shop.ts";

let redis: RedisServer;
let shop: KeyedShop;
/** On the same ledger. */
let second: RunningGateway;

beforeAll(async () => {
  redis = await startRedis();
  shop = await openCreditShop({ env: { LEDGER_URL: redis.url } });
  second = await startGateway({
    config: { ...shop.config, port: 0 },
    log: createLogger({ level: "silent" }),
    onFatal: (error) => {
      throw error;
    },
  });
  await openForBusiness(second.url);
});
afterEach(() => expectBooksClosed(shop));
afterAll(async () => {
  await second.close();
  await shop.close();
  await redis.stop();
});

/** Sends the payment to the other gateway. */
async function sendToSecond({ url, init, payment }: Purchase): Promise<Answer> {
  const headers = { ...(init.headers as Record<string, string>), ...payment };
  return read(await fetch(url.replace(shop.url, second.url), { ...init, headers }));
}

test("one payment at two gateways at once: one key, one secret, one credit", async () => {
  for (let round = 0; round < 5; round += 1) {
    const purchase = await order(shop, await createBuyer(shop), "/keys", { amount: "0.05" });
    const answers = await Promise.all([
      ...[purchase.send(), sendToSecond(purchase)],
      ...[purchase.send(), sendToSecond(purchase)],
    ]);
    expect(answers.filter(({ body }) => "key" in body)).toHaveLength(1);
    for (const { status, code } of answers) {
      if (status !== 200) expect({ status, code }).toEqual({ status: 409, code: "payment_in_progress" });
    }
    expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
    expect(await sendToSecond(purchase)).toMatchObject({ status: 200, body: { repeated: true } });
    expect(await shop.gateway.ledger.balance(purchase.account)).toBe(50_000n);
  }
});

test("accounts of other shards than their payer's: credited once, whoever repeats it", async () => {
  for (let round = 0; round < 5; round += 1) {
    const customer = await shop.customer(0n);
    const payer = await createBuyer(shop);
    const purchase = await order(shop, payer, "/topup", { amount: "0.05" }, customer.secret);
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account: customer.account } });
    expect(await sendToSecond(purchase)).toMatchObject({
      status: 200,
      body: { account: customer.account, balance: "0.05", repeated: true },
    });
    expect((await shop.books(purchase.account)).balance).toBe(0n);
  }
});

test("refused, and it lands after all: the other gateway's sweep credits the account, once", async () => {
  const customer = await shop.customer(0n);
  const payer = await createBuyer(shop);
  const purchase = await order(shop, payer, "/topup", { amount: "0.05" }, customer.secret);
  const late = shop.facilitator.lateLanding("settle", faults.reason("insufficient_funds"));
  expect(await purchase.send()).toMatchObject({ status: 402, code: "payment_refused" });
  await late.release();
  await Promise.all(
    [shop.gateway, second].map(async ({ payments: { reconciler } }) => {
      await reconciler.sweep();
      await reconciler.sweep();
    }),
  );
  expect(await sendToSecond(purchase)).toMatchObject({
    status: 200,
    body: { account: customer.account, balance: "0.05" },
  });
  expect(await shop.books(customer.account)).toMatchObject({ balance: 50_000n, journal: 50_000n });
});
