import { createHmac, hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/**
 * Bearer keys: `<prefix><32 random base62 characters><6 base62 characters of CRC-32>`. The checksum lets secret scanners know a
 * key when they see one, and refuses junk without a look-up. It keeps no secret: only the ledger says whether a key is good.
 */
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** log2(62^32) = 190.5 bits. */
const RANDOM_CHARACTERS = 32;
const CHECKSUM_CHARACTERS = 6;
const TAIL = new RegExp(`^[0-9A-Za-z]{${RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}$`);
/** The largest multiple of 62 below 256: bytes from here on would make the first letters likelier. */
const UNBIASED = 248;

/** A new key; its secret is shown once and never stored. */
export interface MintedKey {
  readonly secret: string;
  readonly last4: string;
}

/** Makes a key with this prefix. */
export function mintKey(prefix: string): MintedKey {
  const body = prefix + randomText(RANDOM_CHARACTERS);
  const secret = body + checksum(body);
  return { secret, last4: secret.slice(-4) };
}

export type ParsedKey =
  | { readonly kind: "key"; readonly prefix: string }
  /** Begins with none of our prefixes. */
  | { readonly kind: "foreign" }
  /** Ours by its prefix, but no key that was ever made: alphabet, length or checksum is wrong. */
  | { readonly kind: "malformed" };

/** Reads a token's form. Prefixes may begin with one another: the one under which the rest is a key counts. Never throws. */
export function parseKey(token: string, prefixes: readonly string[]): ParsedKey {
  const fitting = prefixes.filter((prefix) => token.startsWith(prefix));
  if (fitting.length === 0) return { kind: "foreign" };
  const prefix = fitting.find((candidate) => TAIL.test(token.slice(candidate.length)));
  const body = token.slice(0, -CHECKSUM_CHARACTERS);
  if (prefix === undefined || checksum(body) !== token.slice(-CHECKSUM_CHARACTERS))
    return { kind: "malformed" };
  return { kind: "key", prefix };
}

/** The form in which a secret is stored and looked up, hex: SHA-256, or HMAC-SHA-256 under the server's pepper. */
export function hashSecret(secret: string, pepper: string | undefined): string {
  if (pepper === undefined) return hash("sha256", secret, "hex");
  return createHmac("sha256", pepper).update(secret).digest("hex");
}

/** Tells one pepper from another, and none from any, without telling what it is; hex, or `none`. */
export function pepperMark(pepper: string | undefined): string {
  return pepper === undefined
    ? "none"
    : createHmac("sha256", pepper).update("farebox pepper\n").digest("hex");
}

function randomText(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < UNBIASED && text.length < length) text += ALPHABET[byte % 62] ?? "";
    }
  }
  return text;
}

function checksum(body: string): string {
  let rest = crc32(body);
  let text = "";
  for (let index = 0; index < CHECKSUM_CHARACTERS; index += 1) {
    text = (ALPHABET[rest % 62] ?? "") + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}
