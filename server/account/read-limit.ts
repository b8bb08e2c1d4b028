import type { Request, RequestHandler } from "express";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { networkOf } from "../auth/client-address.ts";
import { GatewayError } from "../errors.ts";
import { wholeSeconds } from "../payment/rate-headers.ts";

export interface ReadLimitParts {
  readonly wallet: (req: Request) => string;
  readonly clientAddress: (req: Request) => string;
  /** For tests; the rest of this module says what is usual. */
  readonly limits?: Partial<ReadLimits>;
}

interface ReadLimits {
  readonly perWallet: number;
  /** A wallet costs nothing to make, so what one client asks with all of its wallets counts too. */
  readonly perNetwork: number;
  readonly atOnce: number;
  readonly waiting: number;
}

/** A minute; and how many such reads one gateway does at a time, whoever asks: calls that pay share the ledger with them. */
const LIMITS: ReadLimits = { perWallet: 60, perNetwork: 300, atOnce: 2, waiting: 100 };

export interface ReadLimit {
  /** For what asks a node: counted by the client's network alone. Throws `rate_limit_exceeded`. */
  readonly asks: RequestHandler;
  /** For what looks through many records: counted, and done a few at a time. Throws `rate_limit_exceeded`. */
  readonly searches: RequestHandler;
}

/** In memory: each gateway counts for itself. */
export function createReadLimit({ wallet, clientAddress, limits }: ReadLimitParts): ReadLimit {
  const { perWallet, perNetwork, atOnce, waiting } = { ...LIMITS, ...limits };
  const byWallet = new RateLimiterMemory({ points: perWallet, duration: 60 });
  const byNetwork = new RateLimiterMemory({ points: perNetwork, duration: 60 });
  const queue: (() => void)[] = [];
  let running = 0;

  async function enter(): Promise<void> {
    if (running < atOnce) {
      running += 1;
      return;
    }
    if (queue.length >= waiting) throw new GatewayError("rate_limit_exceeded", { retryAfterSeconds: 2 });
    // Whoever leaves hands its place over.
    await new Promise<void>((resolve) => queue.push(resolve));
  }

  function leave(): void {
    const next = queue.shift();
    if (next === undefined) running -= 1;
    else next();
  }

  const countNetwork = (req: Request) => take(byNetwork, networkOf(clientAddress(req)));
  return {
    asks: async (req, _res, next) => {
      await countNetwork(req);
      next();
    },
    searches: async (req, res, next) => {
      await countNetwork(req);
      await take(byWallet, wallet(req));
      await enter();
      if (res.closed) return leave();
      res.once("close", leave);
      next();
    },
  };
}

async function take(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    throw new GatewayError("rate_limit_exceeded", { retryAfterSeconds: wholeSeconds(refused.msBeforeNext) });
  }
}
