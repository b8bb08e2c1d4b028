import type { Request, RequestHandler } from "express";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { networkOf } from "../auth/client-address.ts";
import { GatewayError } from "../errors.ts";
import { wholeSeconds } from "../payment/rate-headers.ts";

export interface ReadLimitParts {
  readonly wallet: (req: Request) => string;
  readonly clientAddress: (req: Request) => string;
  readonly limits?: ReadLimits;
}

interface ReadLimits {
  readonly perWallet: number;
  /** A wallet costs nothing to make, so what one client asks with all of its wallets counts too. */
  readonly perNetwork: number;
}

/** A minute. */
const LIMITS: ReadLimits = { perWallet: 60, perNetwork: 300 };

/** All throw `rate_limit_exceeded`. */
export interface ReadLimit {
  /** For what asks a node: counted by the client's network alone. */
  readonly asks: RequestHandler;
  /** For what looks through many records of the ledger. */
  readonly searches: RequestHandler;
  /** For what may leave something in it: counted beside the searches. */
  readonly changes: RequestHandler;
}

const READS: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** In memory: each gateway counts for itself. */
export function createReadLimit({ wallet, clientAddress, limits = LIMITS }: ReadLimitParts): ReadLimit {
  const byWallet = new RateLimiterMemory({ points: limits.perWallet, duration: 60 });
  const changesByWallet = new RateLimiterMemory({ points: limits.perWallet, duration: 60 });
  const byNetwork = new RateLimiterMemory({ points: limits.perNetwork, duration: 60 });
  const countNetwork = (req: Request) => take(byNetwork, networkOf(clientAddress(req)));
  return {
    asks: async (req, _res, next) => {
      await countNetwork(req);
      next();
    },
    searches: async (req, _res, next) => {
      await countNetwork(req);
      await take(byWallet, wallet(req));
      next();
    },
    changes: async (req, _res, next) => {
      if (!READS.has(req.method)) {
        await countNetwork(req);
        await take(changesByWallet, wallet(req));
      }
      next();
    },
  };
}

/** Throws `rate_limit_exceeded` where none is left. */
export async function take(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    throw new GatewayError("rate_limit_exceeded", { retryAfterSeconds: wholeSeconds(refused.msBeforeNext) });
  }
}
