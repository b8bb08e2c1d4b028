import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createTokenBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { order } from "./credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type TokenShop } from "./token-shop.ts";

let redis: RedisServer;
let shop: TokenShop;
beforeAll(async () => {
  redis = await startRedis();
  shop = await openTokenShop({ env: { LEDGER_URL: redis.url } });
});
afterEach(() => expectTokenBooksClosed(shop));
afterAll(async () => {
  await shop.close();
  await redis.stop();
});

test.each(["dropped answer", "late landing", "no fault"])(
  "accounts of other shards than their payer's, with a %s: credited once, as a top-up",
  async (name) => {
    for (let round = 0; round < 4; round += 1) {
      const customer = await shop.customer(0n);
      const payer = await createTokenBuyer(shop, shop.play.mint);
      const purchase = await order(shop, payer, "/topup", { amount: "0.45" }, customer.secret);
      if (name === "dropped answer") shop.facilitator.fail("settle", faults.dropAfter);
      const late =
        name === "late landing"
          ? shop.facilitator.lateLanding("settle", faults.reason("insufficient_funds"))
          : undefined;
      await purchase.send();
      await late?.release();
      const answer = await purchase.send();
      expect(answer).toMatchObject({ status: 200, body: { account: customer.account, balance: "0.45" } });
      expect(answer.body).toMatchObject({ asset: shop.play.mint, asset_amount: "37894736843" });
      expect(await shop.gateway.ledger.journal(customer.account)).toMatchObject([
        { kind: "topup", amount: 450_000n },
      ]);
      expect((await shop.books(purchase.account)).balance).toBe(0n);
    }
  },
);
