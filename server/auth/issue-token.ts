import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { calculateJwkThumbprint, exportJWK, SignJWT } from "jose";
import { z } from "zod";
import type { JwtConfig } from "../config.ts";

/** How first-party tokens are signed. */
export type SigningAlgorithm = "EdDSA" | "ES256";

/** A private key that signs first-party tokens; secret. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly algorithm: SigningAlgorithm;
  /** By which the JWKS names its public key. */
  readonly kid: string;
}

export interface TokenRequest extends Pick<JwtConfig, "issuer" | "audience" | "typ" | "accountClaim"> {
  readonly signingKey: SigningKey;
  /** Who is billed; undefined for a verifier with `billing: free`. */
  readonly account: string | undefined;
  readonly subject?: string | undefined;
  /** 1 to {@link MAX_TOKEN_SECONDS}. */
  readonly ttlSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** No token lives longer; the verifier refuses one that does. */
export const MAX_TOKEN_SECONDS = 900;

const jwk = z.looseObject({ kty: z.string(), kid: z.string().min(1).optional() });
const jwkSet = z.looseObject({ keys: z.array(z.looseObject({ kid: z.string().optional() })) });

/** Signs a token that `createJwtVerifier` accepts under the same settings. Rejects with a RangeError for a life time out of bounds. */
export async function issueToken(request: TokenRequest): Promise<string> {
  const { signingKey, account, subject, ttlSeconds } = request;
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_TOKEN_SECONDS) {
    throw new RangeError(`a token lives 1 to ${MAX_TOKEN_SECONDS} seconds`);
  }
  const issuedAt = Math.floor(request.now / 1_000);
  const token = new SignJWT(account === undefined ? {} : { [request.accountClaim]: account })
    .setProtectedHeader({ alg: signingKey.algorithm, kid: signingKey.kid, typ: request.typ })
    .setIssuer(request.issuer)
    .setAudience(request.audience)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ttlSeconds);
  if (subject !== undefined) token.setSubject(subject);
  return token.sign(signingKey.key);
}

/**
 * Reads a private key from a file: a JWK, or PKCS #8 as PEM. Its `kid` is the JWK's own, or the thumbprint (RFC 7638) of the
 * public key. Throws an Error that says what is wrong and never repeats what the file holds.
 */
export async function readSigningKey(path: string): Promise<SigningKey> {
  const text = await readFile(path, "utf8");
  const { key, kid } = text.trimStart().startsWith("{") ? fromJwk(text, path) : fromPem(text, path);
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) throw new Error(`${path}: neither an Ed25519 nor a P-256 private key`);
  return { key, algorithm, kid: kid ?? (await thumbprint(key)) };
}

/**
 * Makes a key pair: the private JWK in a new file (mode 0600; an existing one is never overwritten), its public key in the
 * JWKS file, beside those that are there, so that tokens of the key before stay good until it is taken out.
 */
export async function generateSigningKey(
  privatePath: string,
  jwksPath: string,
  algorithm: SigningAlgorithm = "EdDSA",
): Promise<{ readonly kid: string }> {
  const others = await readJwks(jwksPath);
  const { privateKey } =
    algorithm === "EdDSA"
      ? generateKeyPairSync("ed25519")
      : generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const kid = await thumbprint(privateKey);
  const facts = { kid, alg: algorithm, use: "sig" };
  const secret = { ...(await exportJWK(privateKey)), ...facts };
  await writeFile(privatePath, `${JSON.stringify(secret)}\n`, { mode: 0o600, flag: "wx" });
  const open = { ...(await exportJWK(createPublicKey(privateKey))), ...facts };
  // In one step: a gateway that reads meanwhile must not find half a file.
  const written = `${jwksPath}.${kid}.tmp`;
  await writeFile(written, `${JSON.stringify({ keys: [open, ...others] }, undefined, 2)}\n`);
  await rename(written, jwksPath);
  return { kid };
}

async function readJwks(path: string): Promise<readonly Record<string, unknown>[]> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  return text === undefined ? [] : jwkSet.parse(parseJson(text, path)).keys;
}

function fromJwk(text: string, path: string): { readonly key: KeyObject; readonly kid: string | undefined } {
  const found = jwk.safeParse(parseJson(text, path));
  if (!found.success) throw new Error(`${path}: not a JWK`);
  try {
    return { key: createPrivateKey({ key: found.data, format: "jwk" }), kid: found.data.kid };
  } catch {
    throw new Error(`${path}: not a private JWK`);
  }
}

function fromPem(text: string, path: string): { readonly key: KeyObject; readonly kid: undefined } {
  try {
    return { key: createPrivateKey(text), kid: undefined };
  } catch {
    throw new Error(`${path}: neither a JWK nor an unencrypted private key as PEM`);
  }
}

/** The parser's own message quotes the text. */
function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${path}: not JSON`);
  }
}

function algorithmOf(key: KeyObject): SigningAlgorithm | undefined {
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  const isP256 = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
  return isP256 ? "ES256" : undefined;
}

async function thumbprint(key: KeyObject): Promise<string> {
  return calculateJwkThumbprint(await exportJWK(createPublicKey(key)));
}
