import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterEach, beforeEach, expect, test } from "vitest";
import { generateSigningKey, issueToken, readSigningKey } from "../../server/auth/issue-token.ts";
import { createJwtVerifier } from "../../server/auth/jwt.ts";
import { SETTINGS } from "./token-stand.ts";

let directory: string;
let secretPath: string;
let jwksPath: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-token-"));
  secretPath = join(directory, "signing.json");
  jwksPath = join(directory, "jwks.json");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function issue(
  path: string,
  more: { ttlSeconds?: number; account?: string | undefined } = {},
): Promise<string> {
  const signingKey = await readSigningKey(path);
  return issueToken({
    ...SETTINGS,
    signingKey,
    account: "acct_1",
    ttlSeconds: 900,
    now: Date.now(),
    ...more,
  });
}

test.each(["EdDSA", "ES256"] as const)(
  "what is issued with a new %s key is accepted with its JWKS",
  async (algorithm) => {
    const { kid } = await generateSigningKey(secretPath, jwksPath, algorithm);
    const token = await issue(secretPath);
    expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, kid, typ: "farebox+jwt" });
    const verifier = createJwtVerifier({ ...SETTINGS, jwksFile: jwksPath });
    expect(await verifier.verify(token)).toEqual({ kind: "ok", account: "acct_1", subject: undefined });
  },
);

test("the private key is for its owner's eyes, and is not in the JWKS", async () => {
  await generateSigningKey(secretPath, jwksPath);
  expect((await stat(secretPath)).mode & 0o777).toBe(0o600);
  const secret = JSON.parse(await readFile(secretPath, "utf8"));
  const published = await readFile(jwksPath, "utf8");
  expect(secret.d).toMatch(/^[\w-]{43}$/);
  expect(published).not.toContain(secret.d);
  expect(JSON.parse(published).keys[0]).not.toHaveProperty("d");
});

test("a second key stands beside the first, so that tokens of both are good", async () => {
  await generateSigningKey(secretPath, jwksPath);
  const second = join(directory, "second.json");
  await generateSigningKey(second, jwksPath, "ES256");
  const verifier = createJwtVerifier({ ...SETTINGS, jwksFile: jwksPath });
  expect(await verifier.verify(await issue(secretPath))).toMatchObject({ kind: "ok" });
  expect(await verifier.verify(await issue(second))).toMatchObject({ kind: "ok" });
});

test("a private key is never overwritten, and then the JWKS does not change either", async () => {
  await generateSigningKey(secretPath, jwksPath);
  const before = [await readFile(secretPath, "utf8"), await readFile(jwksPath, "utf8")];
  await expect(generateSigningKey(secretPath, jwksPath)).rejects.toThrow("EEXIST");
  expect([await readFile(secretPath, "utf8"), await readFile(jwksPath, "utf8")]).toEqual(before);
});

test("a JWKS that cannot be read is left as it is, and no key is made", async () => {
  await writeFile(jwksPath, '{"keys": 1');
  await expect(generateSigningKey(secretPath, jwksPath)).rejects.toThrow("not JSON");
  await expect(stat(secretPath)).rejects.toThrow("ENOENT");
  expect(await readFile(jwksPath, "utf8")).toBe('{"keys": 1');
});

test.each([
  ["Ed25519", "EdDSA", () => generateKeyPairSync("ed25519").privateKey],
  ["P-256", "ES256", () => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey],
])("a PEM file of %s signs %s under its thumbprint", async (_, alg, make) => {
  await writeFile(secretPath, make().export({ type: "pkcs8", format: "pem" }));
  const header = decodeProtectedHeader(await issue(secretPath));
  expect(header.alg).toBe(alg);
  expect(header.kid).toMatch(/^[\w-]{43}$/);
});

test.each<[string, () => string | Buffer, string]>([
  [
    "RSA",
    () =>
      generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({
        type: "pkcs8",
        format: "pem",
      }),
    "neither an Ed25519",
  ],
  [
    "another curve",
    () =>
      generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey.export({ type: "pkcs8", format: "pem" }),
    "neither an Ed25519",
  ],
  [
    "a public key",
    () => JSON.stringify(generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" })),
    "not a private JWK",
  ],
  ["a broken JWK", () => '{"kty":"OKP","crv":"Ed25519","d":"SECRET","x":"SECRET"}', "not a private JWK"],
  ["no key at all", () => '{"SECRET":1}', "not a JWK"],
  ["half a JSON", () => '{"d":"SECRET', "not JSON"],
  ["a text", () => "SECRET", "neither a JWK"],
])("refused as a signing key: %s, without repeating it", async (_, content, message) => {
  await writeFile(secretPath, content());
  const error: unknown = await readSigningKey(secretPath).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Error);
  expect(String(error)).toContain(message);
  expect(String(error)).not.toContain("SECRET");
});

test("a token lives as long as asked and never longer than 15 minutes", async () => {
  await generateSigningKey(secretPath, jwksPath);
  const { iat = 0, exp } = decodeJwt(await issue(secretPath, { ttlSeconds: 60 }));
  expect(exp).toBe(iat + 60);
  for (const ttlSeconds of [0, -1, 901, 1.5, Number.NaN]) {
    await expect(issue(secretPath, { ttlSeconds })).rejects.toThrow(RangeError);
  }
});

test("without an account the token names none", async () => {
  await generateSigningKey(secretPath, jwksPath);
  expect(decodeJwt(await issue(secretPath, { account: undefined }))).not.toHaveProperty("account");
});
