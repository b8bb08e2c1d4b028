import type { VerifyResult } from "../../facilitator-client/types.ts";
import { networkOf } from "../auth/client-address.ts";
import { createRefusalCount } from "../auth/refusal-count.ts";
import { GatewayError } from "../errors.ts";
import { createPlaces } from "../places.ts";
import { rateHeaders, wholeSeconds } from "./rate-headers.ts";

/** Whom a payment's refusal is counted against. */
export interface PaymentSource {
  /** The client's address (auth/client-address.ts). */
  readonly address: string;
  /** The wallet, base58; its signature has been checked. */
  readonly payer: string;
  /**
   * The wallet signed this payment for this very gateway. In protocol v1 it may be a copy of what the wallet paid elsewhere, which
   * the chain shows to everybody: counted against it, anybody could have it blocked.
   */
  readonly isPayersDoing: boolean;
}

/**
 * Keeps payments that come to nothing from burning the facilitator's quota. Only what the facilitator refused counts, so a wallet
 * that can pay is never limited on its own account; records that exist already are looked up before this is asked.
 */
export interface RefusedPayments {
  /** Undefined, or why no new payment of this source is taken to the facilitator now (`too_many_refused_payments`). */
  limit(source: PaymentSource): GatewayError | undefined;
  /**
   * Runs the question when its turn has come, and counts a refusal. Race: refusals are known only after they were asked for, so
   * of one address no more questions are under way than it may have refused; the others wait, and are not asked if by then
   * the limit is reached. So at most twice the limit is asked in a minute, however many connections send at once.
   */
  verify(source: PaymentSource, ask: () => Promise<VerifyResult>): Promise<VerifyResult | GatewayError>;
  /** A payment from this address was refused here, for what it is or for the request it came with. */
  bogus(address: string): void;
  /**
   * More of this address's payments were bogus or refused than the limit allows: they are checked after everybody else's. They
   * are checked all the same, since only the check tells which of them is the retry of what was paid.
   */
  isSuspect(address: string): boolean;
  /** The facilitator refused to settle what it had verified. */
  settleRefused(source: PaymentSource): void;
}

/** In memory: each gateway counts for itself, for at most 20,000 new addresses and as many wallets a minute. */
export function createRefusedPayments(perMinute: number): RefusedPayments {
  const byNetwork = createRefusalCount(perMinute);
  const byPayer = createRefusalCount(perMinute);
  const bogusByNetwork = createRefusalCount(perMinute);
  const asking = createPlaces({ atOnce: perMinute });

  function limit({ address, payer }: PaymentSource): GatewayError | undefined {
    const blockedMs = Math.max(byNetwork.blockedForMs(networkOf(address)), byPayer.blockedForMs(payer));
    if (blockedMs === 0) return undefined;
    return new GatewayError("too_many_refused_payments", {
      headers: Object.fromEntries(rateHeaders({ limit: perMinute, remaining: 0, resetsInMs: blockedMs })),
      retryAfterSeconds: wholeSeconds(blockedMs),
    });
  }

  async function count({ address, payer, isPayersDoing }: PaymentSource): Promise<void> {
    await Promise.all([byNetwork.count(networkOf(address)), isPayersDoing && byPayer.count(payer)]);
  }

  return {
    limit,
    async verify(source, ask) {
      const network = networkOf(source.address);
      await asking.enter(network);
      try {
        const limited = limit(source);
        if (limited !== undefined) return limited;
        const result = await ask();
        if (result.outcome === "refused" && !isOurDoing(result.reason)) await count(source);
        return result;
      } finally {
        asking.leave(network);
      }
    },
    bogus: (address) => void bogusByNetwork.count(networkOf(address)),
    isSuspect(address) {
      const network = networkOf(address);
      return bogusByNetwork.blockedForMs(network) > 0 || byNetwork.blockedForMs(network) > 0;
    },
    settleRefused: (source) => void count(source),
  };
}

/** The facilitator changed its fee payer since we offered terms: no wallet can help that. */
function isOurDoing(reason: string): boolean {
  return /fee_payer_(?:not_managed|mismatch)/.test(reason);
}
