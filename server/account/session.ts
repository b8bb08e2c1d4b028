import { createHash, randomBytes } from "node:crypto";
import type { SessionLedger } from "../ledger/session-ledger.ts";
import {
  createSessionTokens,
  SESSION_MS,
  type SessionClaims,
  type SessionTokenParts,
} from "./session-token.ts";

export interface SessionParts extends SessionTokenParts {
  readonly ledger: Omit<SessionLedger, "useOnce">;
  /** False only for plain http on loopback in local mode. */
  readonly secure: boolean;
}

/** As its token says; the ledger says whether it goes on. */
export type Session = SessionClaims;

/** A session together with the cookies that carry it; they are secrets. */
export interface IssuedSession extends Session {
  readonly cookies: readonly SessionCookie[];
}

export interface SessionCookie {
  readonly name: string;
  readonly value: string;
  readonly options: {
    readonly httpOnly: true;
    readonly secure: boolean;
    readonly sameSite: "lax" | "strict";
    readonly path: "/";
    /** Milliseconds. */
    readonly maxAge: number;
  };
}

/** How long a sign-in lasts, however often it is refreshed. */
const SIGN_IN_MS = 7 * 86_400_000;
/** Two tabs that refresh at once are no theft. */
const REFRESH_GRACE_MS = 10_000;
const REFRESH_TOKEN = /^([1-9A-HJ-NP-Za-km-z]{32,44})\.([\w-]{22})\.([\w-]{43})$/;

export type Sessions = ReturnType<typeof createSessions>;

/**
 * Sessions of wallets: a JWT in a cookie (EdDSA, 15 minutes) and a refresh token in another, which is replaced at each use. The
 * ledger is asked at each request whether the session goes on. All methods reject only with `LedgerFault`.
 */
export function createSessions(parts: SessionParts) {
  const { ledger, secure } = parts;
  const tokens = createSessionTokens(parts);
  const names = cookieNames(secure);

  async function issue(wallet: string, id: string, refreshToken: string): Promise<IssuedSession> {
    const { token, ...session } = await tokens.sign(wallet, id);
    const options = { httpOnly: true, secure, path: "/" } as const;
    return {
      ...session,
      cookies: [
        { name: names.session, value: token, options: { ...options, sameSite: "lax", maxAge: SESSION_MS } },
        {
          name: names.refresh,
          value: refreshToken,
          options: { ...options, sameSite: "strict", maxAge: SIGN_IN_MS },
        },
      ],
    };
  }

  return {
    /** After a sign-in. */
    async open(wallet: string): Promise<IssuedSession> {
      const id = randomBytes(16).toString("base64url");
      const token = newRefreshToken(wallet, id);
      await ledger.openSession({ wallet, id, token: hash(token), ttlMs: SIGN_IN_MS });
      return issue(wallet, id, token);
    },

    /** Of a request's `Cookie` header; undefined: none that is good now. */
    async read(cookies: string | undefined): Promise<Session | undefined> {
      const token = readCookie(cookies, names.session);
      const session = token === undefined ? undefined : await tokens.read(token);
      if (session === undefined) return undefined;
      return (await ledger.hasSession(session.wallet, session.id)) ? session : undefined;
    },

    /** See `SessionLedger.refreshSession`; `none`: no refresh token came. */
    async refresh(
      cookies: string | undefined,
    ): Promise<IssuedSession | "none" | "just_refreshed" | "reused" | "ended"> {
      const token = readCookie(cookies, names.refresh) ?? "";
      const [, wallet, id] = REFRESH_TOKEN.exec(token) ?? [];
      if (wallet === undefined || id === undefined) return "none";
      const next = newRefreshToken(wallet, id);
      const request = { wallet, id, token: hash(token), next: hash(next), graceMs: REFRESH_GRACE_MS };
      const outcome = await ledger.refreshSession(request);
      return outcome === "refreshed" ? issue(wallet, id, next) : outcome;
    },

    end: ({ wallet, id }: Pick<Session, "wallet" | "id">): Promise<void> => ledger.endSession(wallet, id),

    /** Logout everywhere: from the next request on, on every gateway. */
    endAll: (wallet: string): Promise<void> => ledger.endSessions(wallet),

    /** Names of the cookies to clear, and how they were set. */
    cleared: { names: [names.session, names.refresh], options: { httpOnly: true, secure, path: "/" } },
  } as const;
}

/** The prefix makes browsers refuse one that another host of the domain, or plain http, has set. */
export function cookieNames(secure: boolean): { readonly session: string; readonly refresh: string } {
  const prefix = secure ? "__Host-" : "";
  return { session: `${prefix}farebox_session`, refresh: `${prefix}farebox_refresh` };
}

function newRefreshToken(wallet: string, id: string): string {
  return `${wallet}.${id}.${randomBytes(32).toString("base64url")}`;
}

function hash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** Undefined also where it comes twice: one of the two is not ours, and nothing says which. */
function readCookie(header: string | undefined, name: string): string | undefined {
  const values = (header ?? "").split(";").flatMap((pair) => {
    const [key = "", ...value] = pair.split("=");
    return key.trim() === name ? [value.join("=").trim()] : [];
  });
  return values.length === 1 ? values[0] : undefined;
}
