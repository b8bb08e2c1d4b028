import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_KEYS } from "../../server/account/own-account.ts";
import { hashSecret } from "../../server/ledger/keys.ts";
import { usageFacts } from "../admin/admin-world.ts";
import { anotherKey } from "../ledger/customers.ts";
import { bring, request } from "../ledger/world.ts";
import {
  type AccountWorld,
  type Browser,
  newWallet,
  openAccountWorld,
  refusal,
  SHOP_ENV,
} from "./account-world.ts";

let world: AccountWorld;
beforeAll(async () => {
  world = await openAccountWorld();
});
afterAll(() => world.close());

const newcomer = async () => world.gate.signIn(await newWallet());
const create = (browser: Browser, body: unknown = {}, headers: Record<string, string> = {}) =>
  browser.call("POST", "/account/keys", { body, headers });

test("an account that nobody wrote to yet is empty everywhere, and looking does not make it", async () => {
  const browser = await newcomer();
  expect((await browser.call("GET", "/account")).json).toEqual({
    id: browser.account,
    wallet: browser.account.slice("wallet:".length),
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    name: "",
    balance_usd: "0.00",
    balance_micro_usd: "0",
    held_usd: "0.00",
    held_micro_usd: "0",
    available_usd: "0.00",
    available_micro_usd: "0",
    created_at: null,
  });
  expect((await browser.call("GET", "/account/keys")).json).toEqual({ keys: [] });
  expect((await browser.call("GET", "/account/usage")).json).toEqual({ usage: [], next_before: null });
  expect((await browser.call("GET", "/account/journal")).json).toEqual({ journal: [], next_before: null });
  expect((await browser.call("GET", "/account/provider-keys")).json).toEqual({ provider_keys: [] });
  expect(await world.ledger.account(browser.account)).toBeUndefined();
});

test("a refused first key does not make the account; a good one does, of 5 at once too", async () => {
  const browser = await newcomer();
  expect(refusal(await create(browser, { limit: "-1" })).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect(await world.ledger.account(browser.account)).toBeUndefined();
  const made = await Promise.all(
    Array.from({ length: 5 }, (_, index) => create(browser, { label: `k${index}` })),
  );
  expect(made.map(({ status }) => status)).toEqual(Array(5).fill(201));
  expect((await browser.call("GET", "/account")).json["created_at"]).toMatch(/^\d{4}-/);
  expect((await browser.call("GET", "/account/keys")).json["keys"]).toHaveLength(5);
});

test("a key is made, renamed, limited, rotated and revoked; its secret is shown once", async () => {
  const browser = await newcomer();
  const made = await create(browser, { label: "worker", limit: "5.00", rpm: 60, expires_at: "30d" });
  expect(made).toMatchObject({ status: 201, json: { account: browser.account, limit_micro_usd: "5000000" } });
  const [id, secret] = [String(made.json["id"]), String(made.json["key"])];
  const path = `/account/keys/${id}`;
  const changed = await browser.call("PATCH", path, { body: { label: "renamed", limit: null } });
  expect(changed).toMatchObject({ status: 200, json: { label: "renamed", limit_usd: null, rpm: 60 } });
  const rotated = await browser.call("POST", `${path}/rotate`, { body: { grace: "now" } });
  expect(rotated).toMatchObject({ status: 201, json: { id, label: "renamed" } });
  expect(await world.ledger.keyBySecret(hashSecret(secret, undefined))).toBe("unknown");
  const next = String(rotated.json["key"]);
  for (const reply of [await browser.call("GET", path), await browser.call("GET", "/account/keys")]) {
    expect(reply.text).not.toContain(next);
    expect(reply.text).not.toContain(secret);
  }
  for (const _ of [1, 2]) {
    const revoked = await browser.call("DELETE", path);
    expect(revoked).toMatchObject({ status: 200, json: { id, status: "revoked" } });
  }
  expect(refusal(await browser.call("PATCH", path, { body: { label: "x" } })).slice(0, 2)).toEqual([
    409,
    "key_not_active",
  ]);
});

test("an idempotency key makes creation and rotation happen once, for each account", async () => {
  const [browser, other] = [await newcomer(), await newcomer()];
  const headers = { "idempotency-key": "once" };
  const [first, again] = [
    await create(browser, { label: "a" }, headers),
    await create(browser, { label: "a" }, headers),
  ];
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.json).toMatchObject({ id: first.json["id"], key: null, repeated: true });
  expect(refusal(await create(browser, { label: "b" }, headers)).slice(0, 2)).toEqual([
    409,
    "idempotency_key_reused",
  ]);
  const theirs = await create(other, { label: "a" }, headers);
  expect(theirs.status).toBe(201);
  expect(theirs.json["id"]).not.toBe(first.json["id"]);
  const path = `/account/keys/${String(first.json["id"])}/rotate`;
  const turned = await browser.call("POST", path, { body: {}, headers });
  const repeated = await browser.call("POST", path, { body: {}, headers });
  expect([turned.status, repeated.status, repeated.json["key"]]).toEqual([201, 200, null]);
});

test("a wallet may store a bounded number of keys", async () => {
  const browser = await newcomer();
  await create(browser);
  await Promise.all(Array.from({ length: MAX_KEYS - 1 }, () => anotherKey(world.ledger, browser.account)));
  expect(refusal(await create(browser)).slice(0, 2)).toEqual([409, "too_many_keys"]);
});

describe("usage", () => {
  async function busy() {
    const browser = await newcomer();
    const [one, other] = [await create(browser, { label: "one" }), await create(browser, { label: "other" })];
    const write = (key: typeof one, model: string, charged: bigint) =>
      world.ledger.recordUsage(
        usageFacts({ account: browser.account, keyId: String(key.json["id"]), keyLabel: "k", model }),
        charged,
      );
    await write(one, "gpt", 1n);
    await write(one, "claude", 2n);
    await write(other, "gpt", 3n);
    return { browser, one: String(one.json["id"]) };
  }
  const charges = (json: Record<string, unknown>) =>
    (json["usage"] as { charged_micro_usd: string }[]).map((row) => row.charged_micro_usd);

  test("is filtered by key, model and time, and paged", async () => {
    const { browser, one } = await busy();
    const ask = async (query: string) => (await browser.call("GET", `/account/usage${query}`)).json;
    expect(charges(await ask(""))).toEqual(["3", "2", "1"]);
    expect(charges(await ask(`?key=${one}`))).toEqual(["2", "1"]);
    expect(charges(await ask("?model=gpt"))).toEqual(["3", "1"]);
    expect(charges(await ask(`?model=gpt&key=${one}`))).toEqual(["1"]);
    expect(charges(await ask("?model=none"))).toEqual([]);
    expect(charges(await ask("?since=1h"))).toEqual(["3", "2", "1"]);
    const page = await ask("?limit=2");
    expect(charges(page)).toEqual(["3", "2"]);
    expect(charges(await ask(`?limit=2&before=${String(page["next_before"])}`))).toEqual(["1"]);
  });

  test.each(["?format=csv", ""])("is CSV%s where asked", async (query) => {
    const { browser } = await busy();
    const headers: Record<string, string> = query === "" ? { accept: "text/csv" } : {};
    const reply = await browser.call("GET", `/account/usage${query}`, { headers });
    expect(reply.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect(reply.headers.get("content-disposition")).toBe('attachment; filename="usage.csv"');
    expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
    expect(reply.text.trim().split("\r\n")).toHaveLength(4);
  });

  test.each([
    "?limit=0",
    "?limit=1001",
    "?since=tomorrow",
    "?format=xml",
    "?before=x",
    "?unknown=1",
    "?key=a&key=b",
  ])("refuses %s", async (query) => {
    const { browser } = await busy();
    const reply = await browser.call("GET", `/account/usage${query}`);
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
  });
});

test("the journal has credits and debits, newest first, with the transaction of what came over the chain", async () => {
  const wallet = await newWallet();
  const browser = await world.gate.signIn(wallet);
  const payment = request({ payer: wallet.address, amount: 20_000n });
  const owed = await bring(world.ledger, payment, "credited");
  expect(owed).toBeDefined();
  await world.ledger.creditAccount(browser.account, 9_007_199_254_740_993n, "invoice-1");
  const { json } = await browser.call("GET", "/account/journal");
  const record = await world.ledger.payment(payment.id);
  expect(record?.transaction).toBeDefined();
  expect(json).toEqual({
    journal: [
      {
        account: browser.account,
        at: expect.stringMatching(/^\d{4}-/),
        kind: "credit",
        reference: "credit:invoice-1",
        amount_usd: "9007199254.740993",
        amount_micro_usd: "9007199254740993",
        balance_usd: "9007199254.760993",
        balance_micro_usd: "9007199254760993",
        payment: null,
        transaction: null,
        asset: null,
        asset_amount: null,
      },
      {
        account: browser.account,
        at: expect.stringMatching(/^\d{4}-/),
        kind: "owed_credit",
        reference: `payment:${payment.id}`,
        amount_usd: "0.02",
        amount_micro_usd: "20000",
        balance_usd: "0.02",
        balance_micro_usd: "20000",
        payment: payment.id,
        transaction: record?.transaction,
        asset: record?.asset,
        asset_amount: "20000",
      },
    ],
    next_before: null,
  });
  const first = await browser.call("GET", "/account/journal?limit=1");
  const rest = await browser.call(
    "GET",
    `/account/journal?limit=1&before=${String(first.json["next_before"])}`,
  );
  expect([first.json["journal"], rest.json["journal"]].flat()).toEqual(json["journal"]);
  for (const query of ["?limit=0", "?limit=1001", "?before=", "?unknown=1"]) {
    expect((await browser.call("GET", `/account/journal${query}`)).status).toBe(400);
  }
});

test("a provider key is stored, shown by its end and deleted; the first makes the account", async () => {
  const browser = await newcomer();
  const path = "/account/provider-keys/default";
  const secret = "sk-own-secret-of-some-length";
  const stored = await browser.call("PUT", path, { body: { secret } });
  expect(stored).toMatchObject({
    status: 200,
    json: { account: browser.account, provider: "default", last4: "ngth", status: "active" },
  });
  const shown = await browser.call("GET", path);
  expect(shown.json).toEqual(stored.json);
  expect((await browser.call("GET", "/account/provider-keys")).json).toEqual({
    provider_keys: [stored.json],
  });
  for (const { text } of [stored, shown]) expect(text).not.toContain(secret);
  expect((await browser.call("DELETE", path)).json).toMatchObject({ deleted: true });
  expect(refusal(await browser.call("DELETE", path)).slice(0, 2)).toEqual([404, "not_found"]);
  const foreign = await browser.call("PUT", "/account/provider-keys/nobody", { body: { secret } });
  expect(refusal(foreign).slice(0, 2)).toEqual([400, "invalid_request"]);
});

describe("what somebody typed", () => {
  test.each([
    ["a header of its own", "x\r\nSet-Cookie: a=b"],
    ["a line", "x\ny"],
    ["a NUL", "x\0y"],
    ["an escape sequence", "\u001b[31mred"],
    ["too much", "x".repeat(101)],
    ["nothing", ""],
  ])("with %s is no label", async (_, label) => {
    const reply = await create(await newcomer(), { label });
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    expect(reply.headers.get("set-cookie")).toBeNull();
    if (label !== "") expect(reply.text).not.toContain(JSON.stringify(label).slice(1, -1));
  });

  test("as markup stays text: JSON that no browser takes for a page, in labels, models and errors", async () => {
    const browser = await newcomer();
    const markup = '<img src=x onerror="alert(1)">';
    const made = await create(browser, { label: markup, models: [markup] });
    expect(made).toMatchObject({ status: 201, json: { label: markup, models: [markup] } });
    await world.ledger.recordUsage(
      usageFacts({ account: browser.account, keyLabel: markup, model: markup }),
      1n,
    );
    const replies = [
      made,
      await browser.call("GET", "/account/keys"),
      await browser.call("GET", `/account/usage?model=${encodeURIComponent(markup)}`),
      await create(browser, { [markup]: 1 }),
      await browser.call("GET", `/account/keys/${encodeURIComponent(markup)}`),
      await browser.call("GET", `/account/${encodeURIComponent(markup)}`),
    ];
    expect(replies.map(({ status }) => status)).toEqual([201, 200, 200, 400, 404, 404]);
    for (const { headers } of replies) {
      expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
    const csv = await browser.call("GET", "/account/usage?format=csv");
    expect(csv.text).toContain('"<img src=x onerror=""alert(1)"">"');
  });

  test("as a formula is defused in the CSV", async () => {
    const browser = await newcomer();
    const label = '=HYPERLINK("https://evil.example")';
    expect((await create(browser, { label })).status).toBe(201);
    await world.ledger.recordUsage(usageFacts({ account: browser.account, keyLabel: label }), 1n);
    expect((await browser.call("GET", "/account/usage?format=csv")).text).toContain(`"'=HYPERLINK(""https`);
    const split = "a; =HYPERLINK(1)|-2+3";
    await world.ledger.recordUsage(usageFacts({ account: browser.account, keyLabel: split }), 1n);
    const { text } = await browser.call("GET", "/account/usage?format=csv");
    expect(text).toContain(",a; '=HYPERLINK(1)|'-2+3,");
  });

  test("in the path or the body is refused without being repeated or failing", async () => {
    const browser = await newcomer();
    const long = await create(browser, { label: "x".repeat(70_000) });
    expect(refusal(long).slice(0, 2)).toEqual([413, "body_too_large"]);
    expect(refusal(await create(browser, "{")).slice(0, 2)).toEqual([400, "invalid_json"]);
    expect(refusal(await browser.call("GET", "/account/keys/%ff")).slice(0, 2)).toEqual([
      400,
      "invalid_request",
    ]);
    expect(world.gate.faults).toEqual([]);
  });
});

test("a ledger that is away is 503, and nothing is told of it", async () => {
  const fallen = await openAccountWorld();
  const browser = await fallen.gate.signIn(await newWallet());
  const proof = await fallen.gate.proof(await newWallet());
  await fallen.ledger.close();
  for (const reply of [
    await browser.call("GET", "/account"),
    await browser.call("POST", "/auth/refresh"),
    await fallen.gate.call("POST", "/auth/verify", { body: proof }),
  ]) {
    expect(refusal(reply).slice(0, 2)).toEqual([503, "ledger_unavailable"]);
    expect(reply.headers.getSetCookie()).toEqual([]);
  }
  expect(fallen.gate.faults).toHaveLength(3);
  expect(JSON.stringify(fallen.gate.faults)).not.toContain(SHOP_ENV.FAREBOX_SESSION_KEY);
  await fallen.close();
});
