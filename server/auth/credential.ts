import { GatewayError } from "../errors.ts";

/** What an `Authorization` header holds. Only `none`, no header at all, may be served as a call without credentials. */
export type Bearer =
  | { readonly kind: "none" }
  /** Another scheme, no token or several, characters that no token has, or too long. */
  | { readonly kind: "malformed" }
  /** Looks like a signed token; nothing about it was checked. */
  | { readonly kind: "jwt"; readonly token: string }
  /** Anything else of one token; nothing about it was checked. */
  | { readonly kind: "key"; readonly token: string };

/** Another way to pay is asked for than the one that was sent. */
export function wrongTier(): GatewayError {
  return new GatewayError("tier_not_accepted", { headers: { "WWW-Authenticate": "Bearer" } });
}

/** Whether it names the scheme of our credentials. */
export function isBearer(authorization: string | undefined): boolean {
  return authorization !== undefined && /^\s*bearer\b/i.test(authorization);
}

/** Finds keys with these prefixes under whatever scheme, or none: who forgets to write `Bearer` means to pay by key all the same. */
export function createKeyFinder(prefixes: readonly string[]): (authorization: string) => boolean {
  // Prefixes are letters, digits, - and _, so nothing needs escaping.
  const key = new RegExp(`(?<![\\w-])(?:${prefixes.join("|")})`);
  return (authorization) => key.test(authorization);
}

const MAX_JWT_CHARACTERS = 4_096;
const MAX_KEY_CHARACTERS = 256;
const MAX_HEADER_CHARACTERS = MAX_JWT_CHARACTERS + 64;
/** RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1). Commas never match, so neither do joined headers. */
const BEARER = /^bearer +([\w.~+/-]+=*)$/i;
/** Compact JWS. An unsigned one (`alg: none`) has its shape too, so that it is refused as a token. */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]*$/;
const MALFORMED = { kind: "malformed" } as const;

/** Tells credentials apart by their shape. Never throws, and takes time linear in a bounded length. */
export function readBearer(authorization: string | undefined): Bearer {
  if (authorization === undefined) return { kind: "none" };
  if (authorization.length > MAX_HEADER_CHARACTERS) return MALFORMED;
  const token = BEARER.exec(authorization)?.[1];
  if (token === undefined) return MALFORMED;
  if (COMPACT_JWS.test(token)) {
    return token.length > MAX_JWT_CHARACTERS ? MALFORMED : { kind: "jwt", token };
  }
  return token.length > MAX_KEY_CHARACTERS ? MALFORMED : { kind: "key", token };
}
