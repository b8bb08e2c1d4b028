import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { refuse, text } from "./config-values.ts";
import { type MicroUsd, parseUsd } from "./money.ts";

/** The single values of the keyed tier's configuration. No message repeats the value it refuses. */

const MIN_SECRET_CHARACTERS = 32;
const MASTER_KEY_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;
/** Decimals of MicroUsd. */
const MICRO_DECIMALS = 6;

/** A price by the token, `"$0.15/1M"` or `"$0.00015/1K"`, as MicroUsd for a million tokens; refused if that is no whole number. */
export function tokenPrice() {
  return text('a price such as "$0.15/1M"').transform((value, ctx): MicroUsd => {
    const match = /^\$?(\d{1,9})(?:\.(\d{1,12}))?\/1([KM])$/.exec(value);
    if (match === null)
      return refuse(ctx, 'write a price for a million or a thousand tokens: "$0.15/1M", "/1K"');
    const [, whole = "", fraction = "", unit] = match;
    const digits = fraction.replace(/0+$/, "");
    const decimals = MICRO_DECIMALS + (unit === "K" ? 3 : 0);
    if (digits.length > decimals) return refuse(ctx, "is finer than $0.000001 for a million tokens");
    return BigInt(whole + digits.padEnd(decimals, "0"));
  });
}

/** What own provider keys cost: a share (`"5%"`, two decimals at most) or so much a call (`"$0.0005"`). */
export function fee() {
  return text('a fee such as "5%" or "$0.0005"').transform((value, ctx) => {
    const share = /^(\d{1,3})(?:\.(\d{1,2}))?%$/.exec(value);
    if (share !== null) {
      const basisPoints = BigInt(`${share[1]}${(share[2] ?? "").padEnd(2, "0")}`);
      return basisPoints > 10_000n
        ? refuse(ctx, "must be at most 100%")
        : { kind: "share" as const, basisPoints };
    }
    const price = value.startsWith("$") ? parseUsd(value) : undefined;
    if (price !== undefined) return { kind: "call" as const, price };
    return refuse(
      ctx,
      'write a share such as "5%" (at most 2 decimals) or an amount a call such as "$0.0005"',
    );
  });
}

/** What new and accepted keys begin with. It ends with a character that the random part never has, so no two are ambiguous. */
export function keyPrefix() {
  return text("a prefix such as sk_farebox_").regex(/^[\w-]{2,31}[_-]$/, {
    error: "a prefix has 3 to 32 letters, digits, - and _, and ends with - or _",
  });
}

/** One secret of at least 32 characters, such as fit into a header. */
export function secret() {
  return z.string().refine((value) => value.length >= MIN_SECRET_CHARACTERS && /^[\x21-\x7e]+$/.test(value), {
    error: `needs at least ${MIN_SECRET_CHARACTERS} characters, ASCII without blanks`,
  });
}

/** A 256-bit key; its id is the beginning of its SHA-256, so every gateway calls it the same. */
export interface MasterKey {
  readonly id: string;
  readonly key: Buffer;
}

/** One key of 32 bytes, base64 or hex, or two separated by a comma for rotation, newest first. */
export function masterKeys() {
  return z.string().transform((value, ctx): readonly MasterKey[] => {
    const keys = value.split(",").map((part) => keyBytes(part.trim()));
    if (keys.length > 2) return refuse(ctx, "at most two keys: the first is used, both are accepted");
    const found = keys.filter((key) => key !== undefined);
    if (found.length < keys.length) {
      return refuse(ctx, `each key is ${MASTER_KEY_BYTES} bytes as base64 or hex: openssl rand -base64 32`);
    }
    const ids = found.map((key) => createHash("sha256").update(key).digest("hex").slice(0, 8));
    if (new Set(ids).size < ids.length) return refuse(ctx, "names the same key twice");
    return found.map((key, index) => ({ id: ids[index] ?? "", key }));
  });
}

function keyBytes(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, "hex");
  if (!/^(?:[A-Za-z0-9+/]{43}|[\w-]{43})=?$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

/** A public Ed25519 key: `x` of its JWK. */
export function publicKey() {
  return text("a public key").refine(
    (value) =>
      Buffer.from(value, "base64url").toString("base64url") === value &&
      Buffer.from(value, "base64url").length === PUBLIC_KEY_BYTES,
    {
      error: "write the x of the key in /.well-known/jwks.json: 43 characters",
    },
  );
}

/** A proxy's address, or a CIDR range of them. A range of all addresses would believe everybody. */
export function addressRange() {
  return text("an IP address or a range such as 10.0.0.0/8").transform((value, ctx) => {
    const [address = "", bits, ...more] = value.split("/");
    const valid = ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address);
    const range = bits === undefined || (more.length === 0 && ipaddr.isValidCIDR(value));
    if (!valid || !range || address.includes("%")) {
      return refuse(ctx, "write an IP address or a range such as 10.0.0.0/8");
    }
    return Number(bits) === 0 ? refuse(ctx, "this range would believe everybody") : value;
  });
}
