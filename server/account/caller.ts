import type { IncomingMessage } from "node:http";
import type { FloodGuard } from "../auth/flood.ts";
import { GatewayError } from "../errors.ts";
import type { CsrfGuard } from "./csrf.ts";
import type { Session, Sessions } from "./session.ts";
import type { Proof, SignIn } from "./sign-in.ts";

/** Who asks about an account. */
export interface Caller {
  /** The wallet's address, base58. */
  readonly wallet: string;
  /** Undefined: signed in for this request alone. */
  readonly session: Session | undefined;
}

export interface CallerParts {
  readonly signIn: Pick<SignIn, "verify" | "verifyHeader">;
  readonly sessions: Pick<Sessions, "read">;
  readonly csrf: CsrfGuard;
  /** Counts proofs that were refused. */
  readonly failures: FloodGuard;
  readonly clientAddress: (req: IncomingMessage) => string;
  /** Where challenges are; told to who has no proof. */
  readonly challengeUrl: string;
}

/** Whether this method changes nothing. */
function isSafe(method: string | undefined): boolean {
  return method === "GET" || method === "HEAD";
}

export type Callers = ReturnType<typeof createCallers>;

/** Tells whose account a request is about: by its `SIGN-IN-WITH-X` header, else by its session. Never by a bearer credential. */
export function createCallers(parts: CallerParts) {
  const { signIn, sessions, csrf, failures, clientAddress, challengeUrl } = parts;

  /** The wallet of a good proof. Throws `sign_in_refused`, and `too_many_failed_logins` where too many were. */
  async function proven(req: IncomingMessage, verify: () => Promise<Proof>): Promise<string> {
    const address = clientAddress(req);
    const blockedMs = failures.blockedForMs(address);
    if (blockedMs > 0) {
      throw new GatewayError("too_many_failed_logins", { retryAfterSeconds: Math.ceil(blockedMs / 1_000) });
    }
    const proof = await verify();
    if ("address" in proof) return proof.address;
    failures.punish(address);
    throw new GatewayError("sign_in_refused", {
      details: { reason: proof.refused, challenge: challengeUrl },
    });
  }

  /**
   * The session that a cookie names, as it may be used for this request. `reads`: it changes nothing, though it may be a POST.
   * Throws `sign_in_required` and `csrf_refused`.
   */
  async function inSession(req: IncomingMessage, reads = isSafe(req.method)): Promise<Session> {
    if (!isSafe(req.method)) csrf.checkOrigin(req);
    const session = await sessions.read(req.headers.cookie);
    if (session === undefined) {
      throw new GatewayError("sign_in_required", { details: { challenge: challengeUrl } });
    }
    if (!reads) csrf.checkToken(req, session.id);
    return session;
  }

  return {
    proven: (req: IncomingMessage, proof: unknown) => proven(req, () => signIn.verify(proof)),
    inSession: (req: IncomingMessage) => inSession(req),
    async of(req: IncomingMessage, reads?: boolean): Promise<Caller> {
      if (req.headers.authorization !== undefined) throw new GatewayError("tier_not_accepted");
      const header = req.headers["sign-in-with-x"];
      if (header !== undefined) {
        const wallet = await proven(req, () => signIn.verifyHeader(String(header)));
        return { wallet, session: undefined };
      }
      const session = await inSession(req, reads);
      return { wallet: session.wallet, session };
    },
  };
}
