import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generateSigningKey, issueToken, readSigningKey } from "../../server/auth/issue-token.ts";
import type { Permission } from "../../server/ledger/account-ledger.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

const ISSUER = "https://first-party.example";
const AUDIENCE = "farebox";

let directory: string;
let shop: KeyedShop;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-rights-"));
  const jwksFile = join(directory, "jwks.json");
  await generateSigningKey(join(directory, "private.json"), jwksFile);
  shop = await openKeyedShop({
    env: { FAREBOX_KEY_PEPPER: "pepper-pepper-pepper-pepper-pepper-1" },
    yaml: `
jwt: { jwksFile: ${jwksFile}, issuer: ${ISSUER}, audience: ${AUDIENCE} }
routes:
  "POST /for-keys": { upstream: default, price: "$0.01", tiers: [key] }
  "POST /for-tokens": { upstream: default, price: "$0.01", tiers: [jwt] }
  "POST /for-wallets": { upstream: default, price: "$0.01", tiers: [x402] }
`,
  });
});
afterAll(async () => {
  await shop.close();
  await rm(directory, { recursive: true, force: true });
});

async function tokenOf(account: string, subject?: string): Promise<string> {
  const signingKey = await readSigningKey(join(directory, "private.json"));
  const claims = {
    issuer: ISSUER,
    audience: AUDIENCE,
    typ: shop.config.jwt?.typ ?? "",
    accountClaim: "account",
  };
  return issueToken({ ...claims, signingKey, account, subject, ttlSeconds: 60, now: Date.now() });
}

const BODIES: Readonly<Record<string, string>> = {
  "/v1/chat/completions": chat("Hi"),
  "/v1/embeddings": JSON.stringify({ model: "gpt-test", input: "Hi" }),
  "/agent": JSON.stringify({ prompt: "Hi" }),
};

/** What was answered, and whether anybody worked or paid for it. */
async function ask(path: string, credential: string, account: string) {
  const calls = shop.upstream.calls.length;
  const answer = await fetch(shop.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
    body: BODIES[path] ?? "{}",
  });
  const body = await answer.text();
  const { balance, held } = await shop.books(account);
  return {
    status: answer.status,
    code: answer.ok ? undefined : (JSON.parse(body) as { error: { code: string } }).error.code,
    upstreamCalls: shop.upstream.calls.length - calls,
    spent: 1_000_000n - balance + held,
  };
}

const NOTHING = { upstreamCalls: 0, spent: 0n };

describe("a route is sold to those alone whom it names", () => {
  test.each([
    ["/for-tokens", "key"],
    ["/for-wallets", "key"],
    ["/for-keys", "token"],
    ["/for-wallets", "token"],
  ])("%s is not sold for a %s", async (path, kind) => {
    const { account, secret } = await shop.customer(1_000_000n);
    const credential = kind === "key" ? secret : await tokenOf(account);
    const refused = { status: 401, code: "tier_not_accepted", ...NOTHING };
    expect(await ask(path, credential, account)).toEqual(refused);
  });

  test.each([
    ["/for-keys", "key"],
    ["/for-tokens", "token"],
  ])("%s is for a %s", async (path, kind) => {
    const { account, secret } = await shop.customer(1_000_000n);
    const credential = kind === "key" ? secret : await tokenOf(account);
    expect(await ask(path, credential, account)).toMatchObject({ status: 200, spent: 10_000n });
  });
});

describe("a key opens what its permissions name, and nothing else", () => {
  const NEEDED: Readonly<Record<string, Permission>> = {
    "/v1/chat/completions": "chat:read",
    "/v1/embeddings": "embeddings:read",
    "/agent": "agent:run",
    "/for-keys": "agent:run",
  };
  const permissions = [...new Set(Object.values(NEEDED))];
  const cases = Object.keys(NEEDED).flatMap((path) => permissions.map((held) => [held, path] as const));

  test.each(cases)("%s at %s", async (held, path) => {
    const { account, secret } = await shop.customer(1_000_000n, { permissions: [held] });
    const { status, code, upstreamCalls, spent } = await ask(path, secret, account);
    if (NEEDED[path] === held) expect([status, upstreamCalls]).toEqual([200, 1]);
    else
      expect({ status, code, upstreamCalls, spent }).toEqual({
        status: 403,
        code: "insufficient_permissions",
        ...NOTHING,
      });
  });
});

describe("an answer that is kept for an Idempotency-Key", () => {
  async function order(account: string, subject: string | undefined) {
    const answer = await fetch(`${shop.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${await tokenOf(account, subject)}`,
        "content-type": "application/json",
        "idempotency-key": "order",
      },
      body: chat("Hi"),
    });
    await answer.text();
    const { balance } = await shop.books(account);
    return [answer.status, answer.headers.get("idempotent-replayed"), 1_000_000n - balance];
  }

  test("is given to the token's own subject again, and to no other of its account", async () => {
    const { account } = await shop.customer(1_000_000n);
    expect(await order(account, "one")).toEqual([200, null, 7n]);
    expect(await order(account, "one")).toEqual([200, "true", 7n]);
    expect(await order(account, "two")).toEqual([409, null, 7n]);
    expect(await order(account, undefined)).toEqual([409, null, 7n]);
  });

  test("is none of another account's, whose token names the same subject", async () => {
    const [mine, other] = [await shop.customer(1_000_000n), await shop.customer(1_000_000n)];
    expect(await order(mine.account, "one")).toEqual([200, null, 7n]);
    expect(await order(other.account, "one")).toEqual([200, null, 7n]);
  });

  test("is not kept for a token that names nobody: it would be anybody's", async () => {
    const { account } = await shop.customer(1_000_000n);
    expect(await order(account, undefined)).toEqual([200, null, 7n]);
    expect(await order(account, undefined)).toEqual([409, null, 7n]);
  });
});
