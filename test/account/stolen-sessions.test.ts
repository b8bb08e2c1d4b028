import { createHmac, generateKeyPairSync } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { exportSPKI, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deriveSessionKeys } from "../../server/account/session-keys.ts";
import {
  type AccountWorld,
  type Browser,
  browserOf,
  type Gate,
  newWallet,
  OLD_SESSION_KEY,
  openAccountWorld,
  PUBLIC_URL,
  type Reply,
  refusal,
  SESSION_KEY,
} from "./account-world.ts";

const SESSION = "__Host-farebox_session";
const REFRESH = "__Host-farebox_refresh";
const REQUIRED = [401, "sign_in_required", undefined];

let world: AccountWorld;
beforeAll(async () => {
  world = await openAccountWorld();
});
afterAll(() => world.close());

const show = (gate: Gate, browser: Pick<Browser, "headers">) =>
  gate.call("GET", "/account", { headers: browser.headers });
const refresh = (gate: Gate, browser: Pick<Browser, "headers">) =>
  gate.call("POST", "/auth/refresh", { headers: browser.headers });
const renewedBy = (reply: Reply) => browserOf(world.gate.call, PUBLIC_URL, reply);

test("cookies are HttpOnly, Secure, bound to the host and to this site", async () => {
  const reply = await world.gate.call("POST", "/auth/verify", {
    body: await world.gate.proof(await newWallet()),
  });
  expect(reply.headers.getSetCookie().map((line) => line.replace(/Expires=[^;]+/, "Expires=…"))).toEqual([
    expect.stringMatching(
      /^__Host-farebox_session=ey[\w.-]+; Max-Age=900; Path=\/; Expires=…; HttpOnly; Secure; SameSite=Lax$/,
    ),
    expect.stringMatching(
      /^__Host-farebox_refresh=[\w.-]+; Max-Age=604800; Path=\/; Expires=…; HttpOnly; Secure; SameSite=Strict$/,
    ),
  ]);
  expect(Object.keys(reply.json).toSorted()).toEqual(["account", "csrf_token", "expires_at", "wallet"]);
  const left = Date.parse(String(reply.json["expires_at"])) - Date.now();
  expect(left).toBeGreaterThan(890_000);
  expect(left).toBeLessThanOrEqual(900_000);
});

test.each([
  ["local", "http://127.0.0.1:4020", false],
  ["local", "http://localhost:4020", false],
  ["local", "https://dev.example.com", true],
  ["solana", "http://127.0.0.1:4020", true],
])("on the network %s at %s Secure is %s", async (network, publicUrl, secure) => {
  const gate = await world.open({
    NETWORK: network,
    PUBLIC_URL: publicUrl,
    ...(network === "local" ? LOCAL : {}),
  });
  const reply = await gate.call("POST", "/auth/verify", { body: await gate.proof(await newWallet()) });
  const set = reply.headers.getSetCookie();
  expect(set).toHaveLength(2);
  for (const line of set) {
    expect(line.includes("; Secure")).toBe(secure);
    expect(line.startsWith("__Host-")).toBe(secure);
    expect(line).toContain("; HttpOnly");
    expect(line).not.toContain("Domain");
  }
});

/** Local mode is its own chain and facilitator. */
const LOCAL = { RPC_URL: "", FACILITATOR_URL: "" };

test("a session is good on every gateway of the ledger, until its cookie is 15 minutes old", async () => {
  const browser = await world.gate.signIn(await newWallet());
  expect((await show(await world.open(), browser)).status).toBe(200);
  expect((await show(await world.open({}, () => Date.now() + 890_000), browser)).status).toBe(200);
  const later = await world.open({}, () => Date.now() + 931_000);
  expect(refusal(await show(later, browser))).toEqual(REQUIRED);
  // The sign-in is not over: the refresh token still is good.
  const renewed = await refresh(later, browser);
  expect(renewed.status).toBe(200);
  expect((await show(later, renewedBy(renewed))).status).toBe(200);
});

describe("a token that we did not make for a session", () => {
  const [key] = deriveSessionKeys([{ id: "kid", key: Buffer.from(SESSION_KEY, "hex") }]);
  const stranger = generateKeyPairSync("ed25519").privateKey;

  async function forged(change: (token: SignJWT, parts: Parts) => SignJWT, signer = key?.privateKey) {
    const browser = await world.gate.signIn(await newWallet());
    const [head = "", body = ""] = (browser.cookies[SESSION] ?? "").split(".");
    const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
    const parts: Parts = { header: read(head), payload: read(body) };
    const token = change(new SignJWT(parts.payload).setProtectedHeader(parts.header), parts);
    if (signer === undefined) throw new Error("no key");
    return show(world.gate, { headers: { cookie: `${SESSION}=${await token.sign(signer)}` } });
  }
  interface Parts {
    readonly header: { alg: string; typ: string; kid: string };
    readonly payload: Record<string, unknown>;
  }

  test("as it is, it is good: the others differ in what they say", async () => {
    expect((await forged((token) => token)).status).toBe(200);
  });

  test.each<[string, (token: SignJWT, parts: Parts) => SignJWT]>([
    [
      "another type",
      (_, { header, payload }) => new SignJWT(payload).setProtectedHeader({ ...header, typ: "farebox+jwt" }),
    ],
    [
      "plain JWT",
      (_, { header, payload }) => new SignJWT(payload).setProtectedHeader({ ...header, typ: "JWT" }),
    ],
    [
      "an unknown key",
      (_, { header, payload }) => new SignJWT(payload).setProtectedHeader({ ...header, kid: "other" }),
    ],
    ["another audience", (token) => token.setAudience(PUBLIC_URL)],
    ["another issuer", (token) => token.setIssuer("https://evil.example")],
    ["a long life", (token) => token.setIssuedAt(0).setExpirationTime("30d")],
    ["an issue in the future", (token) => token.setIssuedAt(Math.floor(Date.now() / 1_000) + 600)],
    ["another wallet", (token) => token.setSubject("9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM")],
  ])("%s: refused", async (_, change) => {
    expect(refusal(await forged(change))).toEqual(REQUIRED);
  });

  test("another session, no session, and a stranger's signature: refused", async () => {
    expect(
      refusal(
        await forged((_, { header, payload }) =>
          new SignJWT({ ...payload, sid: "AAAAAAAAAAAAAAAAAAAAAA" }).setProtectedHeader(header),
        ),
      ),
    ).toEqual(REQUIRED);
    expect(
      refusal(
        await forged((_, { header, payload: { sid: _sid, ...rest } }) =>
          new SignJWT(rest).setProtectedHeader(header),
        ),
      ),
    ).toEqual(REQUIRED);
    expect(refusal(await forged((token) => token, stranger))).toEqual(REQUIRED);
  });

  test("no signature, and our public key as an HMAC secret: refused", async () => {
    const browser = await world.gate.signIn(await newWallet());
    const [head = "", body = ""] = (browser.cookies[SESSION] ?? "").split(".");
    const { kid, typ } = JSON.parse(Buffer.from(head, "base64url").toString());
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const none = `${encode({ alg: "none", typ, kid })}.${body}.`;
    const start = `${encode({ alg: "HS256", typ, kid })}.${body}`;
    if (key === undefined) throw new Error("no key");
    const secret = await exportSPKI(key.publicKey);
    const mac = createHmac("sha256", secret).update(start).digest("base64url");
    for (const token of [none, `${start}.${mac}`, "x", "..", `${head}.${body}.`]) {
      expect(refusal(await show(world.gate, { headers: { cookie: `${SESSION}=${token}` } }))).toEqual(
        REQUIRED,
      );
    }
  });

  test("the cookie twice: neither is taken", async () => {
    const [own, other] = [
      await world.gate.signIn(await newWallet()),
      await world.gate.signIn(await newWallet()),
    ];
    const cookie = `${SESSION}=${own.cookies[SESSION]}; ${SESSION}=${other.cookies[SESSION]}`;
    expect(refusal(await show(world.gate, { headers: { cookie } }))).toEqual(REQUIRED);
    const among = `a=b; ${SESSION}x=1; ${SESSION}=${own.cookies[SESSION]}; c`;
    expect((await show(world.gate, { headers: { cookie: among } })).status).toBe(200);
  });
});

describe("refresh", () => {
  test("gives new cookies; the token before, brought back by a thief, ends the session for both", async () => {
    const slow = await world.open();
    const browser = await slow.signIn(await newWallet());
    const first = await refresh(slow, browser);
    expect(first.status).toBe(200);
    expect(first.json["csrf_token"]).toBe(browser.csrfToken);
    const second = await refresh(slow, renewedBy(first));
    expect(second.status).toBe(200);
    expect(second.cookies[REFRESH]).not.toBe(first.cookies[REFRESH]);
    const stolen = await refresh(slow, browser);
    expect(refusal(stolen).slice(0, 2)).toEqual([401, "session_ended"]);
    expect(stolen.cookies).toEqual({ [SESSION]: "", [REFRESH]: "" });
    expect(refusal(await refresh(slow, renewedBy(second))).slice(0, 2)).toEqual([401, "session_ended"]);
    expect(refusal(await show(slow, renewedBy(second)))).toEqual(REQUIRED);
    expect(refusal(await show(slow, browser))).toEqual(REQUIRED);
  });

  test("of two tabs at once one gets cookies, the other is told to use them", async () => {
    const browser = await world.gate.signIn(await newWallet());
    const replies = await Promise.all([refresh(world.gate, browser), refresh(await world.open(), browser)]);
    const [won, lost] = replies.toSorted((a, b) => a.status - b.status);
    expect(won?.status).toBe(200);
    expect(lost && refusal(lost).slice(0, 2)).toEqual([409, "session_just_refreshed"]);
    expect(lost?.headers.getSetCookie()).toEqual([]);
    expect(won && (await show(world.gate, renewedBy(won))).status).toBe(200);
  });

  test("with no token, a made-up one, and one's own secret under another wallet: refused", async () => {
    const [own, victim] = [await newWallet(), await newWallet()];
    const browser = await world.gate.signIn(own);
    const theirs = await world.gate.signIn(victim);
    const ask = (token: string | undefined) =>
      refresh(world.gate, {
        headers: { origin: PUBLIC_URL, ...(token === undefined ? {} : { cookie: `${REFRESH}=${token}` }) },
      });
    for (const token of [undefined, "x", "a.b.c"]) expect(refusal(await ask(token))).toEqual(REQUIRED);
    const token = browser.cookies[REFRESH] ?? "";
    expect(refusal(await ask(token.replace(own.address, victim.address))).slice(0, 2)).toEqual([
      401,
      "session_ended",
    ]);
    expect((await show(world.gate, theirs)).status).toBe(200);
    expect((await show(world.gate, browser)).status).toBe(200);
  });
});

test("a stolen ledger holds nothing that a session is made of", async () => {
  const browser = await world.gate.signIn(await newWallet());
  await world.ledger.ping();
  const files = await readdir(world.directory);
  const bytes = Buffer.concat(await Promise.all(files.map((file) => readFile(join(world.directory, file)))));
  const [, id = "", secret = ""] = (browser.cookies[REFRESH] ?? "").split(".");
  expect(bytes.includes(id)).toBe(true);
  expect(secret).toHaveLength(43);
  for (const kept of [secret, browser.cookies[SESSION] ?? "", browser.csrfToken]) {
    expect(bytes.includes(kept)).toBe(false);
  }
});

describe("logout", () => {
  test("ends this session on every gateway from the next request on, and no other", async () => {
    const wallet = await newWallet();
    const [phone, laptop] = [await world.gate.signIn(wallet), await world.gate.signIn(wallet)];
    const reply = await phone.call("POST", "/auth/logout");
    expect([reply.status, reply.cookies]).toEqual([200, { [SESSION]: "", [REFRESH]: "" }]);
    for (const line of reply.headers.getSetCookie()) {
      expect(line).toMatch(/Path=\/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure/);
    }
    const other = await world.open();
    expect(refusal(await show(other, phone))).toEqual(REQUIRED);
    expect(refusal(await refresh(other, phone)).slice(0, 2)).toEqual([401, "session_ended"]);
    expect((await show(other, laptop)).status).toBe(200);
  });

  test("everywhere ends all of the wallet's, and a later sign-in is good", async () => {
    const [wallet, other] = [await newWallet(), await newWallet()];
    const [phone, laptop] = [await world.gate.signIn(wallet), await world.gate.signIn(wallet)];
    const bystander = await world.gate.signIn(other);
    const gate = await world.open();
    const { headers } = laptop;
    expect((await gate.call("POST", "/auth/logout-everywhere", { headers })).status).toBe(200);
    for (const browser of [phone, laptop]) {
      expect(refusal(await show(world.gate, browser))).toEqual(REQUIRED);
      expect(refusal(await refresh(world.gate, browser)).slice(0, 2)).toEqual([401, "session_ended"]);
    }
    expect((await show(world.gate, bystander)).status).toBe(200);
    expect((await show(world.gate, await gate.signIn(wallet))).status).toBe(200);
  });

  test("everywhere may be asked for by a wallet that has no session at hand", async () => {
    const wallet = await newWallet();
    const stolen = await world.gate.signIn(wallet);
    const headers = await world.gate.header(wallet);
    expect((await world.gate.call("POST", "/auth/logout-everywhere", { headers })).status).toBe(200);
    expect(refusal(await show(world.gate, stolen))).toEqual(REQUIRED);
  });
});

test("the session key is rotated without signing anybody out, and the old one ends with it", async () => {
  const before = await world.open({ FAREBOX_SESSION_KEY: OLD_SESSION_KEY });
  const browser = await before.signIn(await newWallet());
  expect(refusal(await show(world.gate, browser))).toEqual(REQUIRED);
  const both = await world.open({ FAREBOX_SESSION_KEY: `${SESSION_KEY},${OLD_SESSION_KEY}` });
  expect((await show(both, browser)).status).toBe(200);
  // Its token of the old secret protects changes as well.
  const made = await both.call("POST", "/account/keys", { body: {}, headers: browser.headers });
  expect(made.status).toBe(201);
  const renewed = renewedBy(await refresh(both, browser));
  expect((await show(world.gate, renewed)).status).toBe(200);
});

test("whose session it is can be asked for, with the token that changes need", async () => {
  const browser = await world.gate.signIn(await newWallet());
  const reply = await browser.call("GET", "/auth/session");
  expect([reply.status, reply.json]).toEqual([
    200,
    {
      account: browser.account,
      wallet: browser.account.replace("wallet:", ""),
      csrf_token: browser.csrfToken,
      expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    },
  ]);
  expect(refusal(await world.gate.call("GET", "/auth/session"))).toEqual(REQUIRED);
});
