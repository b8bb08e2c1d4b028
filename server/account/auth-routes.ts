import type { Request, Response, Router } from "express";
import { z } from "zod";
import { parse } from "../admin/inputs.ts";
import type { FloodGuard } from "../auth/flood.ts";
import { address } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import type { Callers } from "./caller.ts";
import type { CsrfGuard } from "./csrf.ts";
import { accountOf } from "./own-account.ts";
import type { IssuedSession, Session, Sessions } from "./session.ts";
import type { SignIn } from "./sign-in.ts";

export interface AuthRouteParts {
  readonly signIn: Pick<SignIn, "challenge">;
  readonly sessions: Sessions;
  readonly csrf: CsrfGuard;
  readonly callers: Callers;
  /** Counts challenges, which are free to ask for. */
  readonly challenges: FloodGuard;
  readonly clientAddress: (req: Request) => string;
}

const challengeInput = z.strictObject({ address: address() });

/** `/auth`: challenge, verify, session, refresh, logout. */
export function authRoutes(router: Router, parts: AuthRouteParts): void {
  const { signIn, sessions, csrf, callers, challenges, clientAddress } = parts;

  router.post("/auth/challenge", (req, res) => {
    const from = clientAddress(req);
    const blockedMs = challenges.blockedForMs(from);
    if (blockedMs > 0) {
      throw new GatewayError("rate_limit_exceeded", { retryAfterSeconds: Math.ceil(blockedMs / 1_000) });
    }
    challenges.punish(from);
    const asked = parse(challengeInput, req.body);
    const { info, message, nonce, expiresAt } = signIn.challenge(asked.address);
    res.json({ address: asked.address, info, message, nonce, expires_at: iso(expiresAt) });
  });

  router.post("/auth/verify", async (req, res) => {
    // Who sends an Origin is a browser, and another site must not sign it in.
    if (req.headers.origin !== undefined) csrf.checkOrigin(req);
    const wallet = await callers.proven(req, req.body);
    answer(res, await sessions.open(wallet));
  });

  router.get("/auth/session", async (req, res) => void res.json(view(await callers.inSession(req))));

  router.post("/auth/refresh", async (req, res) => {
    csrf.checkOrigin(req);
    const refreshed = await sessions.refresh(req.headers.cookie);
    if (refreshed === "just_refreshed") throw new GatewayError("session_just_refreshed");
    if (refreshed === "none") throw new GatewayError("sign_in_required");
    if (refreshed === "ended" || refreshed === "reused") {
      clear(res);
      throw new GatewayError("session_ended");
    }
    answer(res, refreshed);
  });

  router.post("/auth/logout", async (req, res) => {
    await sessions.end(await callers.inSession(req));
    clear(res);
    res.json({ signed_out: true });
  });

  router.post("/auth/logout-everywhere", async (req, res) => {
    const { wallet } = await callers.of(req);
    await sessions.endAll(wallet);
    clear(res);
    res.json({ signed_out: true, everywhere: true });
  });

  function answer(res: Response, session: IssuedSession): void {
    for (const { name, value, options } of session.cookies) res.cookie(name, value, options);
    res.json(view(session));
  }

  function view(session: Session) {
    return {
      account: accountOf(session.wallet),
      wallet: session.wallet,
      csrf_token: csrf.tokenOf(session.id),
      expires_at: iso(session.expiresAt),
    };
  }

  function clear(res: Response): void {
    const { names, options } = sessions.cleared;
    for (const name of names) res.clearCookie(name, options);
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
