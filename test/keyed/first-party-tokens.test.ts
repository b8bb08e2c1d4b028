import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let directory: string;
let shop: KeyedShop;
let customer: Customer;
let privateKey: Awaited<ReturnType<typeof generateKeyPair>>["privateKey"];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-jwks-"));
  const pair = await generateKeyPair("EdDSA", { extractable: true });
  privateKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "first", alg: "EdDSA", use: "sig" };
  writeFileSync(join(directory, "jwks.json"), JSON.stringify({ keys: [jwk] }));
  shop = await openKeyedShop({
    yaml: `jwt: { jwksFile: ${join(directory, "jwks.json")}, issuer: https://first-party.example, audience: farebox }\n`,
    env: { LOG_LEVEL: "debug" },
  });
  customer = await shop.customer(1_000_000n);
});
afterAll(async () => {
  await shop.close();
  await rm(directory, { recursive: true, force: true });
});

function token(
  claims: Record<string, unknown> = {},
  lifeSeconds = 300,
  typ = "farebox+jwt",
): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({ account: customer.account, aud: "farebox", ...claims })
    .setProtectedHeader({ alg: "EdDSA", kid: "first", typ })
    .setIssuer("https://first-party.example")
    .setSubject("console")
    .setIssuedAt(now)
    .setExpirationTime(now + lifeSeconds)
    .sign(privateKey);
}

function ask(bearer: string): Promise<Response> {
  return fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    body: chat("Hi"),
  });
}

test("a fresh token is served, billed to the account it names, and recorded as internal", async () => {
  const answer = await ask(await token());
  expect(answer.status).toBe(200);
  expect((await shop.books(customer.account)).balance).toBe(1_000_000n - 7n);
  const [usage] = await shop.usageOf(customer.account);
  expect(usage).toMatchObject({ tier: "internal", charged: 7n, keyId: undefined });
});

test.each([
  ["too long-lived", () => token({}, 3_600), "it lives longer than 15 minutes, or not at all"],
  ["expired", () => token({}, -120), '"exp" claim timestamp check failed'],
  ["of nobody's account", () => token({ account: "acct_nobody" }), "there is no account of that id"],
  ["without an account", () => token({ account: undefined }), "its claim account names no account"],
  ["for somebody else", () => token({ aud: "another" }), 'unexpected "aud" claim value'],
  [
    "for somebody else too",
    () => token({ aud: ["farebox", "another"] }),
    "aud must be farebox alone, sub text",
  ],
  [
    "of another type",
    () => token({}, 300, "JWT"),
    "its header is none, or not of alg EdDSA or ES256 and typ farebox+jwt",
  ],
])(
  "a token %s is refused and the upstream not called; why is told to the log alone",
  async (_, make, reason) => {
    const before = shop.upstream.calls.length;
    const answer = await ask(await make());
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
    expect(await answer.json()).toEqual({
      error: {
        message: "Invalid token provided",
        ...{ type: "authentication_error", code: "invalid_token", param: null },
      },
    });
    expect(await shop.line({ level: "debug", reason })).toMatchObject({ msg: "first-party token refused" });
    expect(shop.upstream.calls.length).toBe(before);
  },
);

test("no answer is kept for a token without a secret of ours to seal it: a repeat is refused, not served to whoever asks", async () => {
  const init = async () => ({
    method: "POST",
    headers: {
      authorization: `Bearer ${await token()}`,
      "content-type": "application/json",
      "idempotency-key": "order",
    },
    body: chat("Hi"),
  });
  const { balance } = await shop.books(customer.account);
  expect((await fetch(`${shop.url}/v1/chat/completions`, await init())).status).toBe(200);
  const again = await fetch(`${shop.url}/v1/chat/completions`, await init());
  expect(again.status).toBe(409);
  expect(await again.json()).toMatchObject({ error: { code: "idempotent_answer_not_stored" } });
  expect((await shop.books(customer.account)).balance).toBe(balance - 7n);
});

test("a flood of bad credentials from the same address does not silence tokens that were heard before", async () => {
  expect((await ask(await token())).status).toBe(200);
  let last = 0;
  for (let sent = 0; sent < 70; sent += 1) last = (await ask("x")).status;
  expect(last).toBe(429);
  expect((await ask(await token())).status).toBe(200);
});

test("a token may not ask for a key's status", async () => {
  const answer = await fetch(`${shop.url}/v1/key`, {
    headers: { authorization: `Bearer ${await token()}` },
  });
  expect(answer.status).toBe(401);
});
