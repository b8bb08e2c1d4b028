import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { startChild } from "../faults/child-gateway.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** A gateway that dies under load may lose no money, and may not keep any set aside. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({ yaml: "keys: { holdLease: 1s }\n" });
}, 120_000);
afterAll(async () => {
  await shop.close();
});

test("killed under keyed load: the books add up, and no hold outlives its lease", async () => {
  const customer = await shop.customer(5_000_000n);
  const { gateway } = shop;
  await gateway.close();
  let delivered = 0;
  for (const kill of [20, 60, 140]) {
    const child = await startChild(shop);
    const before = delivered;
    const callers = Array.from({ length: 16 }, async () => {
      for (;;) {
        try {
          const body = chat("Hi", delivered % 2 === 0 ? {} : { stream: true });
          const answer = await fetch(`${shop.url}/v1/chat/completions`, {
            method: "POST",
            headers: customer.headers,
            body,
          });
          await answer.text();
          if (answer.status === 200) delivered += 1;
          if (delivered - before >= kill) await child.kill();
        } catch {
          return;
        }
      }
    });
    await Promise.all(callers);
  }
  await shop.restart();
  const { ledger } = shop.gateway;
  await expect
    .poll(async () => (await shop.books(customer.account)).held, { timeout: 15_000, interval: 50 })
    .toBe(0n);
  expect(await ledger.checkAccounts()).toEqual([]);
  const { balance, journal } = await shop.books(customer.account);
  expect(balance).toBe(journal);
  const usage = await ledger.usage({ account: customer.account, limit: 100_000 });
  const charged = usage.reduce((sum, record) => sum + record.charged, 0n);
  expect(balance).toBe(5_000_000n - charged);
  // Everyone who got a whole JSON answer was charged before its last byte; a stream is charged right after it.
  const paid = usage.filter((record) => record.charged > 0n).length;
  expect(paid).toBeGreaterThanOrEqual(delivered - 3 * 16);
  expect(delivered).toBeGreaterThanOrEqual(220);
  const second = await openSqliteLedger({
    path: join(shop.dataDir, "ledger.sqlite"),
    network: shop.config.caip2,
    onFatal: (error) => {
      throw error;
    },
  });
  expect((await second.account(customer.account))?.balance).toBe(balance);
  await second.close();
}, 120_000);
