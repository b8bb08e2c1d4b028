import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

const OPERATOR = "operator-token-operator-token-operator";

let shop: KeyedShop;
let customer: Customer;
beforeAll(async () => {
  shop = await openKeyedShop({
    env: {
      ADMIN_PORT: "0",
      FAREBOX_ADMIN_TOKEN: OPERATOR,
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
    for (const authorization of [`Bearer ${wrong}`, wrong, `Token ${wrong}`]) {
      const init = { method: "POST", headers: { ...headers, authorization } };
      await ask("/v1/chat/completions", { ...init, body: chat("Hi") });
      await ask("/topup", { ...init, body: "{}" });
    }
  }
  const ended = await operate(`/keys/${customer.keyId}/rotate`, {});
  const rotated = ended.fresh;
  const made = await operate("/keys", { account: customer.account, label: "made" });
  for (const [authorization, path] of [
    [`Bearer ${rotated}`, "/v1/key"],
    [`Bearer ${made.fresh}`, "/v1/key"],
    [headers["authorization"], "/v1/key"],
  ] as const) {
    await ask(path, { headers: { authorization: authorization ?? "" } });
  }
  seen.push(ended.repeat, made.repeat, ...(await shown(made.id)));
  await shop.gateway.ledger.revokeKey(customer.keyId);
  await ask("/v1/chat/completions", { method: "POST", headers, body: chat("Hi") });
  const metrics = await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/metrics`);
  seen.push(await metrics.text());
  seen.push(JSON.stringify(shop.lines));
  expect(shop.upstream.calls.length).toBeGreaterThanOrEqual(3);
  seen.push(JSON.stringify(shop.upstream.calls.map(({ rawHeaders, json }) => ({ rawHeaders, json }))));
  const bodies = [secret, rotated, made.fresh].map((each) => each.slice(12));
  expect(bodies.map((body) => body.length)).toEqual([37, 37, 37]);
  for (const body of bodies) expect(seen.filter((text) => text.includes(body))).toEqual([]);
  const files = await readdir(shop.dataDir, { recursive: true, withFileTypes: true });
  const stored = files.filter((entry) => entry.isFile());
  expect(stored.map(({ name }) => name)).toContain("ledger.sqlite");
  for (const entry of stored) {
    const bytes = await readFile(join(entry.parentPath, entry.name));
    for (const body of bodies) expect(bytes.includes(body), entry.name).toBe(false);
  }
});

function admin(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${OPERATOR}`, "content-type": "application/json" };
  return fetch(`http://127.0.0.1:${shop.gateway.adminPort}/admin${path}`, {
    ...init,
    headers: { ...headers, ...init.headers },
  });
}

/** Makes a secret, which is told once, and asks for it again. */
async function operate(path: string, order: object): Promise<{ id: string; fresh: string; repeat: string }> {
  const init = { method: "POST", headers: { "idempotency-key": path }, body: JSON.stringify(order) };
  const { id, key } = (await (await admin(path, init)).json()) as { id: string; key: string };
  return { id, fresh: key, repeat: await (await admin(path, init)).text() };
}

/** What the operator can see of a key afterwards. */
async function shown(id: string): Promise<readonly string[]> {
  const answers = await Promise.all(
    ["/keys", `/keys/${id}`, "/usage", "/accounts"].map((path) => admin(path)),
  );
  return Promise.all(answers.map((answer) => answer.text()));
}
