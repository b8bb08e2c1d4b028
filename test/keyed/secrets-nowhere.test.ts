import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let shop: KeyedShop;
let customer: Customer;
beforeAll(async () => {
  shop = await openKeyedShop({
    env: {
      ADMIN_PORT: "0",
      FAREBOX_ADMIN_TOKEN: "operator-token-operator-token-operator",
      LOG_LEVEL: "trace",
    },
  });
  customer = await shop.customer(1_000_000n);
});
afterAll(() => shop.close());

test("after a full run a key's secret is in no file, log line, error body or metric", async () => {
  const seen: string[] = [];
  async function ask(path: string, init: RequestInit): Promise<void> {
    const answer = await fetch(shop.url + path, init);
    seen.push(await answer.text(), JSON.stringify([...answer.headers]));
  }
  const { secret, headers } = customer;
  const idempotent = { ...headers, "idempotency-key": "kept" };
  await ask("/v1/chat/completions", { method: "POST", headers: idempotent, body: chat("Hi") });
  await ask("/v1/chat/completions", { method: "POST", headers: idempotent, body: chat("Hi") });
  await ask("/v1/chat/completions", { method: "POST", headers, body: chat("Hi", { stream: true }) });
  await ask("/agent", { method: "POST", headers, body: '{"prompt":"Hi"}' });
  await ask("/v1/chat/completions", { method: "POST", headers, body: "{broken" });
  await ask("/v1/key", { headers });
  await ask("/v1/models", { headers });
  for (const wrong of [
    `${secret}x`,
    secret.slice(0, -1),
    `${secret.slice(0, -1)}!`,
    ` ${secret} ${secret}`,
  ]) {
    await ask("/v1/chat/completions", {
      method: "POST",
      headers: { ...headers, authorization: `Bearer ${wrong}` },
      body: chat("Hi"),
    });
  }
  await shop.gateway.ledger.revokeKey(customer.keyId);
  await ask("/v1/chat/completions", { method: "POST", headers, body: chat("Hi") });
  const metrics = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/metrics`);
  seen.push(await metrics.text());
  seen.push(JSON.stringify(shop.lines));
  expect(shop.upstream.calls.length).toBeGreaterThanOrEqual(3);
  seen.push(JSON.stringify(shop.upstream.calls.map(({ rawHeaders, json }) => ({ rawHeaders, json }))));
  const body = secret.slice(12);
  expect(seen.filter((text) => text.includes(body))).toEqual([]);
  const files = await readdir(shop.dataDir, { recursive: true, withFileTypes: true });
  const stored = files.filter((entry) => entry.isFile());
  expect(stored.map(({ name }) => name)).toContain("ledger.sqlite");
  for (const entry of stored) {
    const bytes = await readFile(join(entry.parentPath, entry.name));
    expect(bytes.includes(body), entry.name).toBe(false);
  }
});
