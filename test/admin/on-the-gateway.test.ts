import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openShop, type Shop } from "../support/shop.ts";
import { ADMIN_TOKEN } from "./admin-world.ts";
import { jsonOf, runFarebox } from "./run-farebox.ts";

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({ env: { ADMIN_PORT: "0", FAREBOX_ADMIN_TOKEN: ADMIN_TOKEN } });
});
afterAll(() => shop.close());

async function admin(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(response.status).toBeLessThan(300);
  return (await response.json()) as Record<string, unknown>;
}

async function ask(secret: unknown): Promise<number> {
  const response = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${String(secret)}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-test", messages: [{ role: "user", content: "Hi" }] }),
  });
  await response.text();
  return response.status;
}

test("a key from the admin API buys calls until the command line revokes it, from the next request on", async () => {
  const { id: account } = await admin("POST", "/admin/accounts", { name: "Acme" });
  await admin("POST", `/admin/accounts/${String(account)}/credits`, { amount: "1.00", reference: "first" });
  const { id, key } = await admin("POST", "/admin/keys", { account, label: "worker" });
  expect(await ask(key)).toBe(200);
  expect(await admin("GET", `/admin/keys/${String(id)}`)).toMatchObject({ usage_usd: "0.02" });
  expect(await admin("GET", `/admin/usage?key=${String(id)}`)).toMatchObject({
    usage: [{ account, key_label: "worker", charged_usd: "0.02", status: 200, tier: "key" }],
  });

  const options = { cwd: shop.dataDir, env: { ...shop.env, FAREBOX_CONFIG: "shop.yaml" } };
  await writeFile(join(shop.dataDir, "shop.yaml"), shop.configText);
  expect(jsonOf(await runFarebox(["usage", "--json"], options))).toMatchObject({ usage: [{ account }] });
  expect(jsonOf(await runFarebox(["keys", "revoke", String(id), "--json"], options))).toMatchObject({
    status: "revoked",
  });
  expect(await ask(key)).toBe(401);
  expect(await admin("GET", "/admin/check")).toEqual({ ok: true, discrepancies: [] });
  expect(JSON.stringify(shop.lines)).not.toContain(key);
});

test("the public port has no admin API and no metrics", async () => {
  for (const path of ["/admin/accounts", "/metrics"]) {
    const response = await fetch(shop.url + path, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    expect([path, response.status]).toEqual([path, 404]);
  }
});
