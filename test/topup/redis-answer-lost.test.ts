import { afterAll, beforeAll, expect, test } from "vitest";
import { readScripts } from "../../server/ledger/redis-scripts.ts";
import { chat, type KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { expectBooksClosed, openCreditShop, order } from "./credit-shop.ts";

let redis: RedisServer;
let proxy: TcpProxy;
let shop: KeyedShop;

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startTcpProxy(redis.port);
  shop = await openCreditShop({ env: { LEDGER_URL: `redis://127.0.0.1:${proxy.port}` } });
});
afterAll(async () => {
  await shop.close();
  await proxy.close();
  await redis.stop();
});

// It is made, and only this one answer can show its secret.
test("the connection breaks while a key is made: its secret is shown all the same", async () => {
  const purchase = await order(shop, await createBuyer(shop), "/keys", { amount: "0.05" });
  proxy.loseAnswerTo(readScripts().get("create-key")?.sha ?? "no such script");
  const answer = await purchase.send();
  expect(answer).toMatchObject({ status: 200, body: { balance: "0.05", repeated: false } });
  const called = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${answer.body["key"]}`, "content-type": "application/json" },
    body: chat("hi"),
  });
  expect(called.status).toBe(200);
  expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
  await expectBooksClosed(shop);
});
