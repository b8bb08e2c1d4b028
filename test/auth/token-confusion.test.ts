import { createHmac } from "node:crypto";
import fc from "fast-check";
import { exportSPKI, importJWK, type JWK } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createJwtVerifier, type JwtVerifier } from "../../server/auth/jwt.ts";
import { createSigner, type JwksServer, openJwksServer, SETTINGS, type Signer, sign } from "./token-stand.ts";

/** Whoever can present a token that we did not issue for this use spends somebody's balance. */
let jwks: JwksServer;
let verifier: JwtVerifier;
let eddsa: Signer;
let es256: Signer;
let rs256: Signer;
let es384: Signer;
let encryption: Signer;
let otherAlg: Signer;
let stranger: Signer;
beforeAll(async () => {
  eddsa = await createSigner("ed");
  es256 = await createSigner("ec", "ES256");
  rs256 = await createSigner("rsa", "RS256");
  es384 = await createSigner("p384", "ES384");
  const enc = await createSigner("enc");
  encryption = { ...enc, jwk: { ...enc.jwk, use: "enc" } };
  const other = await createSigner("other", "ES256");
  otherAlg = { ...other, jwk: { ...other.jwk, alg: "ECDH-ES" } };
  stranger = await createSigner("ed");
  const oct: JWK = { kty: "oct", kid: "shared", k: Buffer.alloc(32, 1).toString("base64url") };
  const keys = [eddsa, es256, rs256, es384, encryption, otherAlg].map(({ jwk }) => jwk);
  jwks = await openJwksServer([...keys, oct]);
  verifier = createJwtVerifier({ ...SETTINGS, jwksUrl: jwks.url }, { jwksCooldownMs: 0 });
});
afterAll(() => jwks.close());

const now = () => Math.floor(Date.now() / 1_000);

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** A token of our own making, signed with an HMAC. */
function hmacToken(secret: string | Buffer, header: Record<string, unknown>): string {
  const claims = {
    iss: SETTINGS.issuer,
    aud: SETTINGS.audience,
    iat: now(),
    exp: now() + 60,
    account: "acct_1",
  };
  const head = `${encode({ alg: "HS256", typ: SETTINGS.typ, ...header })}.${encode(claims)}`;
  return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}

async function withHeader(header: Record<string, unknown>, signature?: string): Promise<string> {
  const [, payload, signed] = (await sign(eddsa)).split(".");
  return `${encode(header)}.${payload}.${signature ?? signed}`;
}

test("a good token names its account and subject, with either algorithm and either name of EdDSA", async () => {
  const ok = { kind: "ok", account: "acct_1", subject: "console" };
  expect(await verifier.verify(await sign(eddsa))).toEqual(ok);
  expect(await verifier.verify(await sign(es256))).toEqual(ok);
  const { alg: _, ...jwk } = eddsa.jwk;
  const open = await openJwksServer([{ ...jwk, kid: "bare" }]);
  const other = createJwtVerifier({ ...SETTINGS, jwksUrl: open.url });
  expect(await other.verify(await sign(eddsa, {}, { alg: "Ed25519", kid: "bare" }))).toEqual(ok);
  await open.close();
});

test.each<[string, () => Promise<string> | string]>([
  ["alg none, without a signature", () => withHeader({ alg: "none", typ: SETTINGS.typ, kid: "ed" }, "")],
  [
    "alg None, with the signature of another",
    () => withHeader({ alg: "None", typ: SETTINGS.typ, kid: "ed" }),
  ],
  ["alg none in a list", () => withHeader({ alg: ["EdDSA"], typ: SETTINGS.typ, kid: "ed" })],
  ["no alg", () => withHeader({ typ: SETTINGS.typ, kid: "ed" })],
  ["HS256 with the public JWK as the secret", () => hmacToken(JSON.stringify(eddsa.jwk), { kid: "ed" })],
  [
    "HS256 with the public PEM as the secret",
    async () => {
      const key = await importJWK(es256.jwk, "ES256", { extractable: true });
      if (key instanceof Uint8Array) throw new Error("not a public key");
      return hmacToken(await exportSPKI(key), { kid: "ec" });
    },
  ],
  [
    "HS256 with the raw public key as the secret",
    () => hmacToken(Buffer.from(eddsa.jwk.x ?? "", "base64url"), { kid: "ed" }),
  ],
  ["HS256 with a shared secret of the key set", () => hmacToken(Buffer.alloc(32, 1), { kid: "shared" })],
  ["RS256, though its key is in the set", () => sign(rs256)],
  ["ES384, though its key is in the set", () => sign(es384)],
  ["a key that is for encryption", () => sign(encryption, {}, { alg: "EdDSA" })],
  ["a key that is for another algorithm", () => sign(otherAlg, {}, { alg: "ES256" })],
  ["another key under a known kid", () => sign(stranger)],
  ["an unknown kid", () => sign(eddsa, {}, { kid: "nobody" })],
  ["a kid of the other key", () => sign(eddsa, {}, { kid: "ec" })],
  ["a kid that is no text", () => sign(eddsa, {}, { kid: 7 })],
  ["a key that it brings along", () => sign(stranger, {}, { kid: undefined, jwk: stranger.jwk })],
  ["a key set that it points to", () => sign(stranger, {}, { kid: "x", jku: "http://127.0.0.1:9/jwks" })],
  ["the generic type", () => sign(eddsa, {}, { typ: "JWT" })],
  ["another purpose's type", () => sign(eddsa, {}, { typ: "at+jwt" })],
  ["no type", () => sign(eddsa, {}, { typ: undefined })],
  ["another issuer", () => sign(eddsa, { iss: "https://other.example" })],
  ["an issuer that only begins alike", () => sign(eddsa, { iss: `${SETTINGS.issuer}.evil.example` })],
  ["a list of issuers", () => sign(eddsa, { iss: [SETTINGS.issuer] })],
  ["no issuer", () => sign(eddsa, { iss: undefined })],
  ["another audience", () => sign(eddsa, { aud: "console" })],
  ["our audience among others", () => sign(eddsa, { aud: ["farebox", "console"] })],
  ["no audience", () => sign(eddsa, { aud: undefined })],
  ["no exp", () => sign(eddsa, { exp: undefined })],
  ["no iat", () => sign(eddsa, { iat: undefined })],
  ["exp as text", () => sign(eddsa, { exp: String(now() + 60) })],
  ["expired beyond the skew", () => sign(eddsa, { iat: now() - 100, exp: now() - 40 })],
  ["issued in the future beyond the skew", () => sign(eddsa, { iat: now() + 60, exp: now() + 120 })],
  ["not valid yet", () => sign(eddsa, { nbf: now() + 60 })],
  ["a life of more than 15 minutes", () => sign(eddsa, { iat: now(), exp: now() + 901 })],
  ["a life that ends before it begins", () => sign(eddsa, { iat: now() + 20, exp: now() + 10 })],
  ["an old token that was made to last", () => sign(eddsa, { iat: now() - 100_000, exp: now() + 60 })],
  ["no account", () => sign(eddsa, { account: undefined })],
  ["an empty account", () => sign(eddsa, { account: "" })],
  ["an account that is no text", () => sign(eddsa, { account: ["acct_1"] })],
  ["an account that is too long", () => sign(eddsa, { account: "a".repeat(129) })],
  [
    "a critical extension we do not know",
    () => withHeader({ alg: "EdDSA", typ: SETTINGS.typ, kid: "ed", crit: ["x"], x: 1 }),
  ],
  [
    "an unencoded payload",
    () => withHeader({ alg: "EdDSA", typ: SETTINGS.typ, kid: "ed", crit: ["b64"], b64: false }),
  ],
  [
    "a payload that was changed",
    async () => {
      const [head, , signature] = (await sign(eddsa)).split(".");
      const [, payload] = (await sign(stranger, { account: "acct_2" })).split(".");
      return `${head}.${payload}.${signature}`;
    },
  ],
  ["nothing", () => ""],
  ["no JSON", () => "aa.bb.cc"],
])("refused: %s", async (_, make) => {
  expect(await verifier.verify(await make())).toEqual({ kind: "invalid" });
});

test.each<[string, () => Record<string, unknown>]>([
  ["expired within the skew", () => ({ iat: now() - 100, exp: now() - 20 })],
  ["issued in the future within the skew", () => ({ iat: now() + 20, exp: now() + 60 })],
  ["a life of just 15 minutes", () => ({ iat: now(), exp: now() + 900 })],
  ["the audience as a list of one", () => ({ aud: ["farebox"] })],
  ["the longest account", () => ({ account: "a".repeat(128) })],
])("accepted: %s", async (_, claims) => {
  expect(await verifier.verify(await sign(eddsa, claims()))).toMatchObject({ kind: "ok" });
});

test("a verifier that bills nobody names no account, whatever the token claims", async () => {
  const free = createJwtVerifier({ ...SETTINGS, jwksUrl: jwks.url, billing: "free" });
  expect(await free.verify(await sign(eddsa))).toEqual({
    kind: "ok",
    account: undefined,
    subject: "console",
  });
});

test("the account may stand in another claim, and inherited properties are none", async () => {
  const settings = { ...SETTINGS, jwksUrl: jwks.url };
  const org = createJwtVerifier({ ...settings, accountClaim: "org" });
  expect(await org.verify(await sign(eddsa, { org: "acct_9" }))).toMatchObject({ account: "acct_9" });
  expect(await org.verify(await sign(eddsa))).toEqual({ kind: "invalid" });
  const inherited = createJwtVerifier({ ...settings, accountClaim: "constructor" });
  expect(await inherited.verify(await sign(eddsa))).toEqual({ kind: "invalid" });
});

test("any change of one character makes a good token invalid, and nothing makes the verifier throw", async () => {
  // Not of the last one: four of its bits mean nothing in base64url.
  const good = await sign(eddsa);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 2), fc.constantFrom(...alphabet), async (at, character) => {
      const changed = good.slice(0, at) + character + good.slice(at + 1);
      const same = changed === good;
      expect((await verifier.verify(changed)).kind).toBe(same ? "ok" : "invalid");
    }),
    { numRuns: 1_000 },
  );
});
