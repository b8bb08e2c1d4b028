import { decodeProtectedHeader, errors, jwtVerify } from "jose";
import { z } from "zod";
import type { JwtConfig } from "../config.ts";
import { createFindKey, isWithin, JwksUnavailable } from "./jwks.ts";

/** What a first-party token came to. */
export type VerifiedToken =
  | {
      readonly kind: "ok";
      /** Who is billed; undefined where nobody is (`billing: free`). */
      readonly account: string | undefined;
      /** The `sub` claim. */
      readonly subject: string | undefined;
    }
  /** Not ours, or not any more. Why is for the operator (`onRefused`): told to the caller, it would help only whoever forges. */
  | { readonly kind: "invalid" }
  /** The keys cannot be read now; the token may be good. */
  | { readonly kind: "unavailable" };

export interface JwtVerifier {
  /** Never rejects. A token of a foreign form, `alg` or `typ` is refused without asking for keys. */
  verify(token: string): Promise<VerifiedToken>;
}

export interface JwtVerifierDeps {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Why keys could not be read: not for each token that met it, for anybody can send any number of them. */
  readonly onFault?: (error: unknown) => void;
  /** Why a token was refused, of what it claims nothing; anybody can bring about any number of them. */
  readonly onRefused?: ((reason: string) => void) | undefined;
  readonly jwksTimeoutMs?: number;
  readonly jwksCooldownMs?: number;
  readonly jwksMaxAgeMs?: number;
  readonly jwksRetryMs?: number;
}

/** `Ed25519` is what RFC 9864 calls EdDSA on that curve. No symmetric one: a public key must never serve as its secret. */
const ALGORITHMS = ["EdDSA", "Ed25519", "ES256"];
const CLOCK_SKEW_SECONDS = 30;
const MAX_LIFE_SECONDS = 900;
const MAX_ACCOUNT_CHARACTERS = 128;
const REQUIRED_CLAIMS = ["iss", "aud", "exp", "iat"];

const accountClaim = z.string().min(1).max(MAX_ACCOUNT_CHARACTERS);

/** Checks first-party tokens: signature, issuer, audience, type, times, and the account they name (RFC 7519, RFC 8725). */
export function createJwtVerifier(config: JwtConfig, deps: JwtVerifierDeps = {}): JwtVerifier {
  const { now = Date.now, onFault, onRefused, jwksRetryMs: retryMs = 1_000 } = deps;
  const findKey = createFindKey(config, {
    now,
    timeoutMs: deps.jwksTimeoutMs ?? 5_000,
    cooldownMs: deps.jwksCooldownMs ?? 30_000,
    maxAgeMs: deps.jwksMaxAgeMs ?? 600_000,
    retryMs,
  });
  const claims = claimsOf(config);
  const typ = mediaType(config.typ);
  let toldAt = Number.NEGATIVE_INFINITY;

  function refuse(reason: string): VerifiedToken {
    onRefused?.(reason);
    return { kind: "invalid" };
  }

  async function check(token: string): Promise<VerifiedToken> {
    if (!isOurs(token, typ))
      return refuse(`its header is none, or not of alg EdDSA or ES256 and typ ${config.typ}`);
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: ALGORITHMS,
      issuer: config.issuer,
      audience: config.audience,
      typ: config.typ,
      requiredClaims: REQUIRED_CLAIMS,
      clockTolerance: CLOCK_SKEW_SECONDS,
      // Also refuses a token that was issued in the future.
      maxTokenAge: MAX_LIFE_SECONDS,
      currentDate: new Date(now()),
    });
    const read = claims.safeParse(payload);
    if (!read.success) return refuse(`aud must be ${config.audience} alone, sub text`);
    const { exp, iat, sub } = read.data;
    if (exp <= iat || exp - iat > MAX_LIFE_SECONDS)
      return refuse("it lives longer than 15 minutes, or not at all");
    if (config.billing === "free") return { kind: "ok", account: undefined, subject: sub };
    const account = accountClaim.safeParse(
      Object.hasOwn(payload, config.accountClaim) ? payload[config.accountClaim] : undefined,
    );
    if (!account.success) return refuse(`its claim ${config.accountClaim} names no account`);
    return { kind: "ok", account: account.data, subject: sub };
  }

  return {
    async verify(token) {
      try {
        return await check(token);
      } catch (error) {
        if (!(error instanceof JwksUnavailable)) {
          if (error instanceof errors.JOSEError) return refuse(error.message);
          onFault?.(error);
          return { kind: "invalid" };
        }
        // A failure to read the set stands for as long, and a key in it that cannot be used is met by every token that names it.
        if (!isWithin(retryMs, toldAt, now())) {
          toldAt = now();
          onFault?.(error);
        }
        return { kind: "unavailable" };
      }
    },
  };
}

/** A token for several audiences could be used here by any of them, so ours has to be the only one. */
function claimsOf({ audience }: JwtConfig) {
  return z.object({
    aud: z.union([z.literal(audience), z.tuple([z.literal(audience)])]),
    exp: z.number(),
    iat: z.number(),
    sub: z.string().optional(),
  });
}

function isOurs(token: string, typ: string): boolean {
  try {
    const header = decodeProtectedHeader(token);
    return (
      ALGORITHMS.includes(header.alg ?? "") && typeof header.typ === "string" && mediaType(header.typ) === typ
    );
  } catch {
    return false;
  }
}

/** As `jose` compares them: without regard to case, and `application/` may be left out (RFC 7515 §4.1.9). */
function mediaType(typ: string): string {
  const lower = typ.toLowerCase();
  return lower.includes("/") ? lower : `application/${lower}`;
}
