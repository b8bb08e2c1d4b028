import { createHttpFacilitator, type FacilitatorOperation } from "./http-facilitator.ts";
import type { Facilitator } from "./types.ts";

export interface CoinbaseFacilitatorOptions {
  /** `CDP_API_KEY_ID`. */
  readonly keyId: string | undefined;
  /** `CDP_API_KEY_SECRET`: base64 Ed25519 or PEM EC. */
  readonly keySecret: string | undefined;
  readonly verifyTimeoutMs: number;
  readonly settleTimeoutMs: number;
  readonly supportedTimeoutMs?: number;
  /** Another address of the same API, for tests. The tokens are bound to it, so they are worth nothing elsewhere. */
  readonly url?: string;
}

/** Coinbase's facilitator cannot be used as configured; the message says what to set. */
export class CoinbaseSetupError extends Error {
  override readonly name = "CoinbaseSetupError";
}

/**
 * Coinbase's hosted facilitator, through the optional package `@coinbase/x402` (imported here and only now). Each call
 * carries its own token, bound to method, host and path, valid 120 s.
 * Throws {@link CoinbaseSetupError} if credentials are missing or unusable (the package itself would silently send none),
 * or if the package is not installed.
 */
export async function createCoinbaseFacilitator(options: CoinbaseFacilitatorOptions): Promise<Facilitator> {
  const { keyId, keySecret } = options;
  if (!keyId || !keySecret) {
    throw new CoinbaseSetupError(
      "The Coinbase facilitator needs CDP_API_KEY_ID and CDP_API_KEY_SECRET (portal.cdp.coinbase.com).",
    );
  }
  const coinbase = await import("@coinbase/x402").catch((cause: unknown) => {
    throw new CoinbaseSetupError(
      "The Coinbase facilitator needs the optional package @coinbase/x402; install it with npm.",
      { cause },
    );
  });
  const url = options.url ?? coinbase.createFacilitatorConfig(keyId, keySecret).url;
  if (url === undefined) throw new CoinbaseSetupError("@coinbase/x402 names no facilitator URL.");
  const { host, pathname } = new URL(url);

  async function authHeaders(operation: FacilitatorOperation): Promise<Readonly<Record<string, string>>> {
    const method = operation === "supported" ? "GET" : "POST";
    const path = `${pathname.replace(/\/+$/, "")}/${operation}`;
    return {
      authorization: await coinbase.createAuthHeader(keyId ?? "", keySecret ?? "", method, host, path),
      "correlation-context": coinbase.createCorrelationHeader(),
    };
  }

  try {
    await authHeaders("supported");
  } catch {
    // No cause: a parser's message could quote the secret.
    throw new CoinbaseSetupError("CDP_API_KEY_SECRET is not a usable key (base64 Ed25519 or PEM EC).");
  }
  return createHttpFacilitator({
    url,
    verifyTimeoutMs: options.verifyTimeoutMs,
    settleTimeoutMs: options.settleTimeoutMs,
    ...(options.supportedTimeoutMs === undefined ? {} : { supportedTimeoutMs: options.supportedTimeoutMs }),
    authHeaders,
    name: "coinbase",
  });
}
