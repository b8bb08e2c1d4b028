import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN_TOKEN, type AdminWorld, openAdminWorld, statusOf } from "./admin-world.ts";

let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
});
afterAll(() => world.close());

async function account(): Promise<string> {
  const { status, json } = await world.call("POST", "/admin/accounts", { name: "Acme" });
  expect(status).toBe(201);
  return String(json["id"]);
}

async function key(body: Record<string, unknown>, headers: Record<string, string> = {}) {
  return world.call("POST", "/admin/keys", body, headers);
}

test.each([
  ["no token", undefined],
  ["another token", "Bearer operator-token-operator-token-operatoR"],
  ["the beginning of the token", `Bearer ${ADMIN_TOKEN.slice(0, -1)}`],
  ["more than the token", `Bearer ${ADMIN_TOKEN}x`],
  ["another scheme", `Basic ${ADMIN_TOKEN}`],
  ["an empty token", "Bearer "],
])("%s opens nothing, whether the path is there or not", async (_, authorization) => {
  for (const path of ["/admin/accounts", "/admin/keys/x", "/admin/nothing", "/admin"]) {
    const response = await fetch(`${world.url}${path}`, {
      headers: authorization === undefined ? {} : { authorization },
    });
    expect([path, response.status]).toEqual([path, 401]);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect(await response.json()).toMatchObject({ error: { code: "admin_token_required" } });
  }
});

test("the metrics stay open beside it, and what is not there is 404", async () => {
  expect((await fetch(`${world.url}/metrics`)).status).toBe(200);
  expect((await world.call("GET", "/admin/nothing")).json).toMatchObject({ error: { code: "not_found" } });
  expect((await fetch(`${world.url}/administrator`)).status).toBe(404);
});

test("an account is opened, credited once for each reference, and listed with exact amounts", async () => {
  const id = await account();
  const credit = (amount: string) =>
    world.call("POST", `/admin/accounts/${id}/credits`, { amount, reference: "invoice-1" });
  expect(await credit("12.84")).toMatchObject({
    status: 201,
    json: { amount_usd: "12.84", balance_usd: "12.84", balance_micro_usd: "12840000", repeated: false },
  });
  expect(await credit("$12.84")).toMatchObject({
    status: 200,
    json: { balance_usd: "12.84", repeated: true },
  });
  expect(await credit("12.85")).toMatchObject({ status: 409, json: { error: { code: "credit_conflict" } } });
  const { json, headers } = await world.call("GET", "/admin/accounts");
  expect(json["accounts"]).toContainEqual(
    expect.objectContaining({ id, name: "Acme", balance_usd: "12.84", held_micro_usd: "0" }),
  );
  expect(headers.get("cache-control")).toBe("no-store");
});

test("opening an account again: the same under one idempotency key, refused without one", async () => {
  const headers = { "idempotency-key": "open-1" };
  const first = await world.call("POST", "/admin/accounts", { name: "Twice" }, headers);
  const again = await world.call("POST", "/admin/accounts", { name: "Twice" }, headers);
  const other = await world.call("POST", "/admin/accounts", { name: "Other" }, headers);
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.json).toMatchObject({ id: first.json["id"], repeated: true });
  expect(other).toMatchObject({ status: 409, json: { error: { code: "idempotency_key_reused" } } });
  await world.call("POST", "/admin/accounts", { id: "acme" });
  const taken = await world.call("POST", "/admin/accounts", { id: "acme" });
  expect(taken).toMatchObject({ status: 409, json: { error: { code: "account_exists" } } });
});

test("a key is made with its settings, shown once and never again", async () => {
  const id = await account();
  const made = await key({
    account: id,
    label: "worker",
    prefix: "sr_",
    limit: "5.00",
    limit_reset: "monthly",
    permissions: ["chat:read"],
    models: ["gpt"],
    providers: ["default"],
    rpm: 60,
    concurrency: 4,
    expires_at: "2999-01-31T00:00:00Z",
  });
  expect(made.status).toBe(201);
  const secret = String(made.json["key"]);
  expect(secret).toMatch(/^sr_[0-9A-Za-z]{38,}$/);
  expect(await statusOf(world.ledger, secret)).toBe("active");
  const settings = {
    account: id,
    label: "worker",
    prefix: "sr_",
    last4: secret.slice(-4),
    limit_usd: "5.00",
    limit_micro_usd: "5000000",
    limit_reset: "monthly",
    limit_remaining_usd: "5.00",
    permissions: ["chat:read"],
    models: ["gpt"],
    providers: ["default"],
    rpm: 60,
    concurrency: 4,
    expires_at: "2999-01-31T00:00:00.000Z",
    status: "active",
    usage_usd: "0.00",
  };
  expect(made.json).toMatchObject(settings);
  const shown = await world.call("GET", `/admin/keys/${String(made.json["id"])}`);
  expect(shown.json).toMatchObject(settings);
  const listed = await world.call("GET", `/admin/keys?account=${id}`);
  expect(listed.json["keys"]).toEqual([shown.json]);
  for (const { text } of [shown, listed, await world.call("GET", "/admin/keys")]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain('"hash"');
  }
});

test("a repeated creation names the same key and keeps its secret to itself", async () => {
  const id = await account();
  const headers = { "idempotency-key": "make-1" };
  const first = await key({ account: id, label: "a", expires_at: "30d" }, headers);
  const again = await key({ expires_at: "30d", label: "a", account: id }, headers);
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.json).toMatchObject({ id: first.json["id"], key: null, repeated: true });
  expect(again.text).not.toContain(String(first.json["key"]));
  const other = await key({ account: id, label: "b", expires_at: "30d" }, headers);
  expect(other).toMatchObject({ status: 409, json: { error: { code: "idempotency_key_reused" } } });
  const elsewhere = await key({ account: await account(), label: "a", expires_at: "30d" }, headers);
  expect(elsewhere.status).toBe(201);
  expect(elsewhere.json["id"]).not.toBe(first.json["id"]);
  const { json } = await world.call("GET", `/admin/keys?account=${id}`);
  expect(json["keys"]).toHaveLength(1);
});

test("a rotation gives a new secret once; the old one ends with its grace; history and id stay", async () => {
  const made = (await key({ account: await account(), label: "turning" })).json;
  const path = `/admin/keys/${String(made["id"])}/rotate`;
  const headers = { "idempotency-key": "turn-1" };
  const rotated = await world.call("POST", path, { grace: "1h" }, headers);
  expect(rotated).toMatchObject({ status: 201, json: { id: made["id"], label: "turning" } });
  expect(rotated.json["key"]).not.toBe(made["key"]);
  const again = await world.call("POST", path, { grace: "1h" }, headers);
  expect(again).toMatchObject({ status: 200, json: { id: made["id"], key: null, repeated: true } });
  expect(await statusOf(world.ledger, made["key"])).toBe("active");
  expect(await statusOf(world.ledger, rotated.json["key"])).toBe("active");
  const now = await world.call("POST", path);
  expect(now.status).toBe(201);
  expect(await statusOf(world.ledger, rotated.json["key"])).toBe("unknown");
  expect(await statusOf(world.ledger, now.json["key"])).toBe("active");
  const wrong = await world.call("POST", path, { grace: "2h" });
  expect(wrong.json).toMatchObject({
    error: { code: "invalid_request", message: "grace: write now, 1m, 15m, 1h, 6h or 24h" },
  });
});

test("a revoked key is over for good", async () => {
  const made = (await key({ account: await account() })).json;
  const path = `/admin/keys/${String(made["id"])}`;
  for (const _ of [1, 2]) {
    expect(await world.call("POST", `${path}/revoke`)).toMatchObject({
      status: 200,
      json: { status: "revoked" },
    });
  }
  expect(await statusOf(world.ledger, made["key"])).toBe("revoked");
  const rotated = await world.call("POST", `${path}/rotate`, {});
  const changed = await world.call("PATCH", path, { label: "back" });
  for (const reply of [rotated, changed]) {
    expect(reply).toMatchObject({ status: 409, json: { error: { code: "key_not_active" } } });
  }
});

test("a change replaces what it names and null lifts a restriction", async () => {
  const made = (await key({ account: await account(), limit: "1", rpm: 5, models: ["gpt"] })).json;
  const path = `/admin/keys/${String(made["id"])}`;
  const changed = await world.call("PATCH", path, { limit: null, label: "new", models: null });
  expect(changed.json).toMatchObject({ limit_usd: null, label: "new", models: null, rpm: 5 });
  expect((await world.call("GET", path)).json).toEqual(changed.json);
});

test.each([
  ["POST", "/admin/accounts/acct_none/credits", { amount: "1", reference: "r" }, 404, "account_not_found"],
  ["POST", "/admin/keys", { account: "acct_none" }, 404, "account_not_found"],
  ["GET", "/admin/keys?account=acct_none", undefined, 404, "account_not_found"],
  ["GET", "/admin/keys/key_none", undefined, 404, "key_not_found"],
  ["PATCH", "/admin/keys/key_none", { label: "x" }, 404, "key_not_found"],
  ["POST", "/admin/keys/key_none/revoke", undefined, 404, "key_not_found"],
  ["POST", "/admin/keys/key_none/rotate", undefined, 404, "key_not_found"],
  ["GET", "/admin/accounts/acct_none/provider-keys", undefined, 404, "account_not_found"],
  [
    "PUT",
    "/admin/accounts/acct_none/provider-keys/default",
    { secret: "sk-secret-1" },
    404,
    "account_not_found",
  ],
  ["DELETE", "/admin/accounts/acct_none/provider-keys/default", undefined, 404, "account_not_found"],
] as const)("%s %s with %j, of nobody, is %i", async (method, path, body, status, code) => {
  expect(await world.call(method, path, body)).toMatchObject({ status, json: { error: { code } } });
});

test.each([
  ["/admin/accounts", { name: "x", colour: "red" }, '"colour": unknown field'],
  ["/admin/accounts", { id: "wallet:9Wz" }, "id: an id has 1 to 64 letters, digits, -, _ and ."],
  [
    "/admin/accounts",
    { name: "a\u001b[31mb" },
    "name: must be one line of whole characters, without control characters",
  ],
  [
    "/admin/accounts",
    { name: "a\u202eb" },
    "name: must be one line of whole characters, without control characters",
  ],
  [
    "/admin/accounts",
    { name: "a\ud800" },
    "name: must be one line of whole characters, without control characters",
  ],
  [
    "/admin/accounts/a/credits",
    { amount: 5, reference: "r" },
    'amount: write dollars as a string, such as "5.00"',
  ],
  [
    "/admin/accounts/a/credits",
    { amount: "-5", reference: "r" },
    'amount: write dollars such as "5.00" (at most 6 decimals)',
  ],
  ["/admin/accounts/a/credits", { amount: "0", reference: "r" }, "amount: must be at least 0.000001"],
  [
    "/admin/accounts/a/credits",
    { amount: "1000000000.01", reference: "r" },
    "amount: must be at most 1000000000",
  ],
  [
    "/admin/keys",
    { account: "a", prefix: "sk_other_" },
    "prefix: is not one of the configured ones: sk_farebox_, sr_",
  ],
  ["/admin/keys", {}, "account: is missing"],
  ["/admin/accounts/a/credits", { amount: "1" }, "reference: is missing"],
  ["/admin/keys", { account: "a", permissions: [] }, "permissions: must name at least one"],
  ["/admin/keys", { account: "a", models: [] }, "models: must name at least one"],
  ["/admin/keys", { account: "a", rpm: 0 }, "rpm: write a whole number from 1 to 1000000"],
  ["/admin/keys", { account: "a", expires_at: "2001-01-01" }, "expires_at: is in the past"],
  ["/admin/keys", { account: "a", limit: 5 }, 'limit: write dollars as a string, such as "5.00"'],
])("POST %s with %j is refused by name", async (path, body, message) => {
  const reply = await world.call("POST", path, body);
  expect(reply).toMatchObject({ status: 400, json: { error: { code: "invalid_request", message } } });
});

test("bodies that are no JSON, too large or of another type are refused", async () => {
  expect((await world.call("POST", "/admin/keys", "{")).json).toMatchObject({
    error: { code: "invalid_json" },
  });
  const large = await world.call("POST", "/admin/accounts", { name: "x".repeat(70_000) });
  expect(large).toMatchObject({ status: 413, json: { error: { code: "body_too_large" } } });
  const form = await world.call("POST", "/admin/keys", "account=a", { "content-type": "text/plain" });
  expect(form).toMatchObject({
    status: 400,
    json: { error: { message: "body: send JSON, as application/json" } },
  });
  const text = await world.call("POST", "/admin/accounts", "name=a", { "content-type": "text/plain" });
  expect(text.status).toBe(400);
  expect((await world.call("PATCH", "/admin/keys/k", {})).json).toMatchObject({
    error: { message: "say at least one setting that is to change" },
  });
  const badKey = await world.call("POST", "/admin/accounts", {}, { "idempotency-key": "" });
  expect(badKey.status).toBe(400);
  expect(world.faults).toEqual([]);
});

test("the check finds nothing wrong", async () => {
  expect((await world.call("GET", "/admin/check")).json).toEqual({ ok: true, discrepancies: [] });
});
