import type { KeyPairSigner } from "@solana/kit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { usageFacts } from "../admin/admin-world.ts";
import { type AccountWorld, type Browser, newWallet, openAccountWorld, refusal } from "./account-world.ts";

let world: AccountWorld;
let victimWallet: KeyPairSigner;
let victim: Browser;
let thief: Browser;
let victimsKey: string;
let victimsSecret: string;
beforeAll(async () => {
  world = await openAccountWorld();
  victimWallet = await newWallet();
  victim = await world.gate.signIn(victimWallet);
  thief = await world.gate.signIn(await newWallet());
  const made = await victim.call("POST", "/account/keys", { body: { label: "victim's" } });
  victimsKey = String(made.json["id"]);
  victimsSecret = String(made.json["key"]);
  await victim.call("PUT", "/account/provider-keys/default", { body: { secret: "sk-victim-1234" } });
  await world.ledger.creditAccount(victim.account, 5_000_000n, "invoice-7");
  await world.ledger.recordUsage(
    usageFacts({ account: victim.account, keyId: victimsKey, route: "POST /agent" }),
    3n,
  );
});
afterAll(() => world.close());

test.each([
  ["GET", ""],
  ["PATCH", "", { label: "mine now" }],
  ["DELETE", ""],
  ["POST", "/rotate", {}],
])("%s of another's key%s is 404, the same as of one that is not there", async (method, rest, body?) => {
  const options = body === undefined ? {} : { body };
  const theirs = await thief.call(method, `/account/keys/${victimsKey}${rest}`, options);
  const none = await thief.call(method, `/account/keys/key_none${rest}`, options);
  expect(refusal(theirs)).toEqual([404, "key_not_found", undefined]);
  expect(theirs.text).toBe(none.text);
  expect((await victim.call("GET", `/account/keys/${victimsKey}`)).json).toMatchObject({
    label: "victim's",
    status: "active",
    last4: victimsSecret.slice(-4),
  });
});

test("usage of another's key is 404, and filters reach no other account", async () => {
  for (const format of ["json", "csv"]) {
    const reply = await thief.call("GET", `/account/usage?key=${victimsKey}&format=${format}`);
    expect(refusal(reply)).toEqual([404, "key_not_found", undefined]);
  }
  expect((await thief.call("GET", "/account/usage")).json["usage"]).toEqual([]);
  expect((await thief.call("GET", "/account/usage?format=csv")).text.trim().split("\r\n")).toHaveLength(1);
  expect((await victim.call("GET", "/account/usage")).json["usage"]).toHaveLength(1);
});

test.each([
  ["GET", (id: string) => `/account/usage?account=${id}`],
  ["GET", (id: string) => `/account/usage?account=${id}&format=csv`],
  ["GET", (id: string) => `/account/journal?account=${id}`],
  ["POST", () => "/account/keys"],
  ["PUT", () => "/account/provider-keys/default"],
])("%s with an account that is named is refused", async (method, path) => {
  const id = victim.account;
  const body = { account: id, secret: "sk-thief-12345" };
  const reply = await thief.call(method, path(encodeURIComponent(id)), method === "GET" ? {} : { body });
  expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect((await victim.call("GET", "/account/keys")).json["keys"]).toHaveLength(1);
});

test("balance, journal, keys and provider keys are one's own", async () => {
  expect((await thief.call("GET", "/account")).json).toMatchObject({
    id: thief.account,
    balance_micro_usd: "0",
  });
  expect((await thief.call("GET", "/account/journal")).json).toEqual({ journal: [], next_before: null });
  expect((await thief.call("GET", "/account/keys")).json).toEqual({ keys: [] });
  expect((await thief.call("GET", "/account/provider-keys")).json).toEqual({ provider_keys: [] });
  for (const method of ["GET", "DELETE"]) {
    const reply = await thief.call(method, "/account/provider-keys/default");
    expect(refusal(reply).slice(0, 2)).toEqual([404, "not_found"]);
  }
  expect((await victim.call("GET", "/account/provider-keys/default")).status).toBe(200);
});

test("a journal page of another's journal is not reached by its mark", async () => {
  await world.ledger.creditAccount(victim.account, 1n, "invoice-8");
  const { json } = await victim.call("GET", "/account/journal?limit=1");
  const { json: reached } = await thief.call("GET", `/account/journal?before=${String(json["next_before"])}`);
  expect(reached).toEqual({ journal: [], next_before: null });
});

test.each([
  ["a key's secret", () => `Bearer ${victimsSecret}`],
  ["a session's token", () => `Bearer ${victim.cookies["__Host-farebox_session"]}`],
  ["a password", () => `Basic ${Buffer.from("a:b").toString("base64")}`],
  ["nothing", () => ""],
])(
  "%s in Authorization opens no account, not even beside a good session or proof",
  async (_, authorization) => {
    const paths = [
      "/account",
      "/account/keys",
      "/account/usage",
      "/account/journal",
      "/account/provider-keys",
    ];
    for (const path of paths) {
      const proof = await world.gate.header(victimWallet);
      for (const headers of [{}, victim.headers, proof]) {
        const reply = await world.gate.call("GET", path, {
          headers: { ...headers, authorization: authorization() },
        });
        expect(refusal(reply).slice(0, 2)).toEqual([401, "tier_not_accepted"]);
      }
    }
  },
);

test.each(["/account", "/ACCOUNT", "/account/", "/account/keys", "/account/nothing"])(
  "%s needs somebody",
  async (path) => {
    for (const method of ["GET", "HEAD"]) {
      expect((await world.gate.call(method, path)).status).toBe(401);
    }
  },
);

test("a bad proof is not helped by a good session", async () => {
  const headers = { ...victim.headers, "sign-in-with-x": "e30=" };
  expect(refusal(await world.gate.call("GET", "/account", { headers }))).toEqual([
    401,
    "sign_in_refused",
    "malformed",
  ]);
});
