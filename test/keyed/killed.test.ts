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

test("case 3: killed under keyed load: the books add up, and no hold outlives its lease", async () => {
  const whole = await shop.customer(5_000_000n);
  const streaming = await shop.customer(5_000_000n);
  const { gateway } = shop;
  await gateway.close();
  const delivered = new Map([whole, streaming].map(({ account }) => [account, 0]));
  const total = () => [...delivered.values()].reduce((sum, count) => sum + count, 0);
  for (const kill of [20, 60, 140]) {
    const child = await startChild(shop);
    const before = total();
    const callers = Array.from({ length: 16 }, async (_, index) => {
      const { account, headers } = index % 2 === 0 ? whole : streaming;
      const body = chat("Hi", account === whole.account ? {} : { stream: true });
      for (;;) {
        try {
          const answer = await fetch(`${shop.url}/v1/chat/completions`, { method: "POST", headers, body });
          await answer.text();
          if (answer.status === 200) delivered.set(account, (delivered.get(account) ?? 0) + 1);
          if (total() - before >= kill) await child.kill();
        } catch {
          return;
        }
      }
    });
    await Promise.all(callers);
  }
  expect(total()).toBeGreaterThanOrEqual(220);
  await shop.restart();
  const { ledger } = shop.gateway;
  for (const { account } of [whole, streaming]) {
    await expect
      .poll(async () => (await shop.books(account)).held, { timeout: 15_000, interval: 50 })
      .toBe(0n);
    const { balance, journal } = await shop.books(account);
    expect(balance).toBe(journal);
    const usage = await ledger.usage({ account, limit: 100_000 });
    const charged = usage.reduce((sum, record) => sum + record.charged, 0n);
    expect(balance).toBe(5_000_000n - charged);
    // Everyone who got a whole JSON answer was charged before its last byte; a stream is charged right after it.
    const open = account === whole.account ? 0 : 3 * 8;
    const paid = usage.filter((record) => record.charged > 0n).length;
    expect(paid).toBeGreaterThanOrEqual((delivered.get(account) ?? 0) - open);
  }
  expect(await ledger.checkAccounts()).toEqual([]);
  const second = await openSqliteLedger({
    path: join(shop.dataDir, "ledger.sqlite"),
    network: shop.config.caip2,
    onFatal: (error) => {
      throw error;
    },
  });
  for (const { account } of [whole, streaming]) {
    expect(await second.account(account)).toEqual(await ledger.account(account));
  }
  await second.close();
}, 120_000);
