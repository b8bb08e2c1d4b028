import { decodeProtectedHeader, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import type { SessionKey } from "./session-keys.ts";

/** What a session's token says. */
export interface SessionClaims {
  /** The wallet's address, base58. */
  readonly wallet: string;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface SessionTokenParts {
  /** Newest first: the first signs, all verify. */
  readonly keys: readonly SessionKey[];
  readonly publicUrl: string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** How long a session's token is good. */
export const SESSION_MS = 900_000;
const CLOCK_SKEW_SECONDS = 30;
/** Any token may be called JWT; this one is a session's and nothing else. */
const TYP = "farebox-session+jwt";

const claims = z.object({ sub: z.string(), sid: z.string(), exp: z.number() });

/** The JWT of a session: EdDSA, 15 minutes, a key and a type of its own (RFC 8725 §3.11). */
export function createSessionTokens({ keys, publicUrl, clock }: SessionTokenParts) {
  const audience = `${publicUrl}/account`;
  return {
    async sign(wallet: string, id: string): Promise<SessionClaims & { readonly token: string }> {
      const [key] = keys;
      if (key === undefined) throw new Error("There is no session key.");
      const issuedAt = Math.floor(clock() / 1_000);
      const expiresAt = issuedAt + SESSION_MS / 1_000;
      const token = await new SignJWT({ sid: id })
        .setProtectedHeader({ alg: "EdDSA", typ: TYP, kid: key.id })
        .setIssuer(publicUrl)
        .setAudience(audience)
        .setSubject(wallet)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(key.privateKey);
      return { wallet, id, expiresAt: expiresAt * 1_000, token };
    },

    /** Undefined: not ours, or not any more. Never rejects. */
    async read(token: string): Promise<SessionClaims | undefined> {
      try {
        const { kid } = decodeProtectedHeader(token);
        const key = keys.find(({ id }) => id === kid);
        if (key === undefined) return undefined;
        const { payload } = await jwtVerify(token, key.publicKey, {
          algorithms: ["EdDSA"],
          typ: TYP,
          issuer: publicUrl,
          audience,
          requiredClaims: ["sub", "sid", "iat", "exp"],
          clockTolerance: CLOCK_SKEW_SECONDS,
          maxTokenAge: SESSION_MS / 1_000,
          currentDate: new Date(clock()),
        });
        const { sub, sid, exp } = claims.parse(payload);
        return { wallet: sub, id: sid, expiresAt: exp * 1_000 };
      } catch {
        return undefined;
      }
    },
  };
}
