import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createJwtVerifier } from "../../server/auth/jwt.ts";
import { createSigner, type JwksServer, openJwksServer, SETTINGS, type Signer, sign } from "./token-stand.ts";

/** A key set that is away must neither let a token in nor brand a good one as bad; and one that changed must be noticed. */
let first: Signer;
let second: Signer;
let jwks: JwksServer;
let directory: string;
let time: number;
beforeAll(async () => {
  first = await createSigner("first");
  second = await createSigner("second", "ES256");
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-jwks-"));
  jwks = await openJwksServer([first.jwk]);
  time = Date.now();
});
afterEach(async () => {
  await jwks.close();
  await rm(directory, { recursive: true, force: true });
});

const now = () => time;
const both = () => JSON.stringify({ keys: [first.jwk, second.jwk] });

function remote(options: Parameters<typeof createJwtVerifier>[1] = {}) {
  return createJwtVerifier({ ...SETTINGS, jwksUrl: jwks.url }, { now, ...options });
}

test("the set is fetched once for many tokens at once, and then no more", async () => {
  const verifier = remote();
  const token = await sign(first);
  const results = await Promise.all(Array.from({ length: 50 }, () => verifier.verify(token)));
  expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(["ok"]));
  await verifier.verify(await sign(first));
  expect(jwks.asked()).toBe(1);
});

test("a new key is found by its kid", async () => {
  const verifier = remote({ jwksCooldownMs: 0 });
  await verifier.verify(await sign(first));
  jwks.answer(200, both());
  expect(await verifier.verify(await sign(second))).toMatchObject({ kind: "ok" });
  expect(await verifier.verify(await sign(first))).toMatchObject({ kind: "ok" });
  expect(jwks.asked()).toBe(2);
});

test("unknown kids do not make us ask again within the cooldown", async () => {
  const verifier = remote();
  await verifier.verify(await sign(first));
  const stranger = await sign(second);
  for (let i = 0; i < 20; i += 1) expect(await verifier.verify(stranger)).toEqual({ kind: "invalid" });
  expect(jwks.asked()).toBe(1);
});

test("a key that was taken out is refused once the set is too old", async () => {
  const verifier = remote({ jwksMaxAgeMs: 0 });
  const token = await sign(first);
  expect(await verifier.verify(token)).toMatchObject({ kind: "ok" });
  jwks.answer(200, JSON.stringify({ keys: [second.jwk] }));
  expect(await verifier.verify(token)).toEqual({ kind: "invalid" });
});

test.each([
  ["ten minutes later", 600_000],
  ["when the clock was set back by an hour", -3_600_000],
])("the set is read again %s: what was taken out is refused, what was added is known", async (_, passed) => {
  const verifier = remote();
  expect(await verifier.verify(await sign(first))).toMatchObject({ kind: "ok" });
  jwks.answer(200, JSON.stringify({ keys: [second.jwk] }));
  time += passed;
  const iat = Math.floor(time / 1_000);
  const times = { iat, exp: iat + 60 };
  expect(await verifier.verify(await sign(first, times))).toEqual({ kind: "invalid" });
  expect(await verifier.verify(await sign(second, times))).toMatchObject({ kind: "ok" });
  expect(jwks.asked()).toBe(2);
});

test.each<[string, () => Promise<void> | void]>([
  ["refuses connections", () => jwks.close()],
  ["hangs", () => jwks.hang(true)],
  ["answers 500", () => jwks.answer(500, "{}")],
  ["redirects", () => jwks.answer(302, "")],
  ["answers a page", () => jwks.answer(200, "<html>")],
  ["answers JSON that is no key set", () => jwks.answer(200, '{"keys":{}}')],
  ["answers far too much", () => jwks.answer(200, JSON.stringify({ keys: [], filler: "x".repeat(300_000) }))],
  [
    "holds a private key",
    () => jwks.answer(200, JSON.stringify({ keys: [{ ...first.jwk, d: first.jwk.x }] })),
  ],
])(
  "unavailable while its server %s; what is no token of ours stays invalid, and nobody is asked",
  async (_, breakIt) => {
    await breakIt();
    const faults: unknown[] = [];
    const verifier = remote({ jwksTimeoutMs: 100, onFault: (error) => faults.push(error) });
    expect(await verifier.verify(await sign(first, {}, { typ: "JWT" }))).toEqual({ kind: "invalid" });
    expect(await verifier.verify("aa.bb.cc")).toEqual({ kind: "invalid" });
    const header = Buffer.from('{"alg":"HS256","typ":"farebox+jwt"}').toString("base64url");
    expect(await verifier.verify(`${header}.e30.AA`)).toEqual({ kind: "invalid" });
    expect(jwks.asked()).toBe(0);
    expect(faults).toEqual([]);
    expect(await verifier.verify(await sign(first))).toEqual({ kind: "unavailable" });
    expect(faults).toHaveLength(1);
  },
);

test("during an outage the server is asked once in a while, known keys stay good, and it recovers", async () => {
  const faults: unknown[] = [];
  const onFault = (error: unknown) => faults.push(error);
  const verifier = remote({ jwksCooldownMs: 0, jwksRetryMs: 1_000, onFault });
  const known = await sign(first);
  await verifier.verify(known);
  jwks.answer(500, "{}");
  const unknown = await sign(second);
  for (let i = 0; i < 20; i += 1) expect(await verifier.verify(unknown)).toEqual({ kind: "unavailable" });
  expect(jwks.asked()).toBe(2);
  // Whoever sends tokens meanwhile must not fill the log.
  expect(faults).toHaveLength(1);
  expect(await verifier.verify(known)).toMatchObject({ kind: "ok" });
  jwks.answer(200, both());
  expect(await verifier.verify(unknown)).toEqual({ kind: "unavailable" });
  time += 1_000;
  expect(await verifier.verify(unknown)).toMatchObject({ kind: "ok" });
});

test.each<[string, () => void]>([
  ["a server that does not answer", () => jwks.hang(true)],
  [
    "a key that cannot be used",
    () => jwks.answer(200, JSON.stringify({ keys: [{ ...first.jwk, x: "AAAA" }] })),
  ],
])("%s is told once in a while, however many tokens meet it", async (_, breakIt) => {
  breakIt();
  const faults: unknown[] = [];
  const verifier = remote({ jwksTimeoutMs: 100, onFault: (error) => faults.push(error) });
  const token = await sign(first);
  for (const expected of [1, 2]) {
    for (let i = 0; i < 20; i += 1) expect(await verifier.verify(token)).toEqual({ kind: "unavailable" });
    expect(faults).toHaveLength(expected);
    time += 1_000;
  }
});

test("a file is read again when it changed, and not before it is due", async () => {
  const path = join(directory, "jwks.json");
  await writeFile(path, JSON.stringify({ keys: [first.jwk] }));
  const verifier = createJwtVerifier({ ...SETTINGS, jwksFile: path }, { now });
  expect(await verifier.verify(await sign(first))).toMatchObject({ kind: "ok" });
  await writeFile(path, JSON.stringify({ keys: [second.jwk] }));
  await utimes(path, new Date(), new Date(Date.now() + 5_000));
  expect(await verifier.verify(await sign(second))).toEqual({ kind: "invalid" });
  time += 1_000;
  expect(await verifier.verify(await sign(second))).toMatchObject({ kind: "ok" });
  expect(await verifier.verify(await sign(first))).toEqual({ kind: "invalid" });
});

test.each([
  ["is gone", undefined],
  ["is half written", '{"keys":[{"kty":'],
  ["is no key set", '["kty"]'],
])("unavailable while the file %s, also for a key that was in it; it recovers", async (_, content) => {
  const path = join(directory, "jwks.json");
  const good = JSON.stringify({ keys: [first.jwk] });
  await writeFile(path, good);
  const verifier = createJwtVerifier({ ...SETTINGS, jwksFile: path }, { now });
  const token = await sign(first);
  expect(await verifier.verify(token)).toMatchObject({ kind: "ok" });
  if (content === undefined) await rm(path);
  else await writeFile(path, content);
  time += 1_000;
  expect(await verifier.verify(token)).toEqual({ kind: "unavailable" });
  await writeFile(path, good);
  expect(await verifier.verify(token)).toEqual({ kind: "unavailable" });
  time += 1_000;
  expect(await verifier.verify(token)).toMatchObject({ kind: "ok" });
});

test("two keys that fit a token without a kid: neither is tried", async () => {
  const other = await createSigner("other");
  jwks.answer(200, JSON.stringify({ keys: [first.jwk, other.jwk] }));
  expect(await remote().verify(await sign(first, {}, { kid: undefined }))).toEqual({ kind: "invalid" });
});
