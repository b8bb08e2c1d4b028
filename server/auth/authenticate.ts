import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";
import type { CallPayer } from "../ledger/call-ledger.ts";
import { hashSecret, parseKey } from "../ledger/keys.ts";
import { rateHeaders, wholeSeconds } from "../payment/rate-headers.ts";
import { createKeyFinder, isBearer, readBearer } from "./credential.ts";
import type { FloodGuard } from "./flood.ts";
import type { JwtVerifier } from "./jwt.ts";

/** Who calls, as far as the credential itself can tell; whether a key is good is for the ledger to say. */
export interface Caller {
  readonly tier: "key" | "jwt";
  /** Undefined: a first-party call that nobody is billed for. */
  readonly payer: CallPayer | undefined;
  /** Seals answers so that only this credential's holder can open them; undefined: none may be kept. */
  answerKey(): Buffer | undefined;
}

/** The error's object may be shared by all that are refused for the same reason. */
export type Authentication = Caller | GatewayError;

export interface Authenticator {
  /** Whether a credential of ours is shown at all, be it a key that is not sent as a bearer token; beside others the answer is the price. */
  isShown(authorization: string | undefined): boolean;
  /** Reads the `Authorization` header. `invalid_api_key`, `invalid_token`, `jwks_unavailable`, or `too_many_failed_logins`. */
  authenticate(req: IncomingMessage): Authentication | Promise<Authentication>;
  /** The ledger knows no such key, or it opens nothing any more: counts against the client's address. */
  refused(req: IncomingMessage, caller: Caller): void;
  /** The ledger knows the key: its holder is heard also when others at the same address are not. */
  accepted(caller: Caller): void;
}

export interface AuthenticatorParts {
  readonly prefixes: readonly string[];
  readonly pepper: string | undefined;
  /** Undefined: no first-party tokens here. */
  readonly jwt: JwtVerifier | undefined;
  /** Nobody is billed for first-party calls. */
  readonly jwtIsFree: boolean;
  /** A first-party token that is good names an account that the ledger does not have. */
  readonly onUnknownAccount: () => void;
  readonly flood: FloodGuard;
  readonly clientAddress: (req: IncomingMessage) => string;
}

/** Good keys by their whole hash, and addresses of good tokens; only for whom to hear in a flood. */
const REMEMBERED = 10_000;

/** Reads and checks credentials as far as that needs no ledger. A credential never falls through to another tier. */
export function createAuthenticator(parts: AuthenticatorParts): Authenticator {
  const { flood, jwt } = parts;
  const foreign = foreignKey(parts.prefixes);
  const holdsKey = createKeyFinder(parts.prefixes);
  const good = new Set<string>();
  const firstParty = new Set<string>();

  function bad(req: IncomingMessage, error: GatewayError): GatewayError | Promise<GatewayError> {
    const address = parts.clientAddress(req);
    const blockedMs = flood.blockedForMs(address);
    if (blockedMs > 0) return tooMany(blockedMs);
    flood.punish(address);
    return error;
  }

  async function tooMany(blockedMs: number): Promise<GatewayError> {
    await flood.holdBack();
    return new GatewayError("too_many_failed_logins", {
      headers: Object.fromEntries(rateHeaders({ limit: flood.limit, remaining: 0, resetsInMs: blockedMs })),
      retryAfterSeconds: wholeSeconds(blockedMs),
    });
  }

  function authenticateKey(req: IncomingMessage, token: string): Authentication | Promise<GatewayError> {
    const parsed = parseKey(token, parts.prefixes);
    if (parsed.kind === "foreign") return bad(req, foreign);
    if (parsed.kind === "malformed") return bad(req, INVALID_KEY);
    const hash = hashSecret(token, parts.pepper);
    if (!good.has(hash)) {
      const blockedMs = flood.blockedForMs(parts.clientAddress(req));
      if (blockedMs > 0) return tooMany(blockedMs);
    }
    return { tier: "key", payer: { kind: "key", hash }, answerKey: () => answerKey(token) };
  }

  async function authenticateJwt(req: IncomingMessage, token: string): Promise<Authentication> {
    if (jwt === undefined) return bad(req, foreign);
    const address = parts.clientAddress(req);
    const blockedMs = firstParty.has(address) ? 0 : flood.blockedForMs(address);
    if (blockedMs > 0) return tooMany(blockedMs);
    const verified = await jwt.verify(token);
    if (verified.kind === "unavailable")
      return new GatewayError("jwks_unavailable", { retryAfterSeconds: 2 });
    if (verified.kind === "invalid") return bad(req, new GatewayError("invalid_token", CHALLENGE));
    const { account, subject } = verified;
    if (account === undefined && !parts.jwtIsFree)
      return bad(req, new GatewayError("invalid_token", CHALLENGE));
    remember(firstParty, address);
    return {
      tier: "jwt",
      payer: parts.jwtIsFree || account === undefined ? undefined : { kind: "account", account },
      answerKey: () => tokenAnswerKey(parts.pepper, account, subject),
    };
  }

  return {
    isShown: (authorization) =>
      authorization !== undefined && (isBearer(authorization) || holdsKey(authorization)),
    authenticate(req) {
      const bearer = readBearer(req.headers.authorization);
      if (carriesSeveral(req.rawHeaders)) return bad(req, INVALID_KEY);
      if (bearer.kind === "key") return authenticateKey(req, bearer.token);
      if (bearer.kind === "jwt") return authenticateJwt(req, bearer.token);
      if (bearer.kind === "none") return bad(req, NO_KEY);
      return bad(req, isBearer(req.headers.authorization) ? INVALID_KEY : NO_BEARER);
    },
    refused(req, { payer }) {
      if (payer?.kind === "account") parts.onUnknownAccount();
      if (payer?.kind === "key") good.delete(payer.hash);
      flood.punish(parts.clientAddress(req));
    },
    accepted({ payer }) {
      if (payer?.kind === "key") remember(good, payer.hash);
    },
  };
}

/** Node keeps the first of several; a proxy before us may have looked at another. */
function carriesSeveral(rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 13 && name.toLowerCase() === "authorization") seen += 1;
  }
  return seen > 1;
}

const CHALLENGE = { headers: { "WWW-Authenticate": 'Bearer error="invalid_token"' } };

const INVALID_KEY = new GatewayError("invalid_api_key", { headers: { "WWW-Authenticate": "Bearer" } });

const NO_KEY = new GatewayError("invalid_api_key", {
  message: "No API key was sent. Send Authorization: Bearer and the key.",
  headers: { "WWW-Authenticate": "Bearer" },
});

const NO_BEARER = new GatewayError("invalid_api_key", {
  message: "The key was not sent as a bearer token. Send Authorization: Bearer and the key.",
  headers: { "WWW-Authenticate": "Bearer" },
});

function foreignKey(prefixes: readonly string[]): GatewayError {
  const expected = prefixes.map((prefix) => `${prefix}…`).join(" or ");
  return new GatewayError("invalid_api_key", {
    message: `Invalid API key provided: keys of this service look like ${expected}`,
    headers: { "WWW-Authenticate": 'Bearer error="invalid_token"' },
  });
}

function remember(known: Set<string>, value: string): void {
  if (known.size >= REMEMBERED && !known.has(value)) known.clear();
  known.add(value);
}

/**
 * A retry comes with the next token of the same subject, so the key cannot be the token's own. Account and subject are no
 * secrets: without one of ours, or for tokens that name nobody, no answer is kept.
 */
function tokenAnswerKey(
  pepper: string | undefined,
  account: string | undefined,
  subject: string | undefined,
): Buffer | undefined {
  if (pepper === undefined || subject === undefined) return undefined;
  const holder = JSON.stringify([account ?? null, subject]);
  return createHmac("sha256", pepper).update("farebox stored answer\n").update(holder).digest();
}

function answerKey(secret: string): Buffer {
  return createHash("sha256").update("farebox stored answer\n").update(secret).digest();
}
