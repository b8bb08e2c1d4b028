import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";
import type { SessionKey } from "./session-keys.ts";

/** The header that carries a session's token. */
const TOKEN_HEADER = "x-csrf-token";

/**
 * Keeps other sites from using a browser's session cookie. What changes something needs our own `Origin` and the session's token,
 * which only a page that may read our answers has. Throws `csrf_refused`.
 */
export interface CsrfGuard {
  /** The same for the life of a session, on every gateway. */
  tokenOf(sessionId: string): string;
  /** Browsers send `Origin` with everything but GET and HEAD; whoever sends none is refused too. */
  checkOrigin(req: Pick<IncomingMessage, "headers">): void;
  checkToken(req: Pick<IncomingMessage, "headers">, sessionId: string): void;
}

export function createCsrfGuard(publicUrl: string, keys: readonly SessionKey[]): CsrfGuard {
  const { origin } = new URL(publicUrl);
  const tokensOf = (sessionId: string) => keys.map((key) => key.mac("csrf", sessionId));
  return {
    tokenOf: (sessionId) => tokensOf(sessionId)[0]?.toString("base64url") ?? "",
    checkOrigin({ headers }) {
      if (headers.origin !== origin) throw refusal("origin");
    },
    checkToken({ headers }, sessionId) {
      const given = Buffer.from(String(headers[TOKEN_HEADER] ?? ""), "base64url");
      const isOurs = tokensOf(sessionId).some(
        (token) => token.length === given.length && timingSafeEqual(token, given),
      );
      if (!isOurs) throw refusal("token");
    },
  };
}

function refusal(reason: "origin" | "token"): GatewayError {
  return new GatewayError("csrf_refused", { details: { reason } });
}
