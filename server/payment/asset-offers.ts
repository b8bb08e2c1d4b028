import type { TopUpToken } from "../config.ts";
import type { MicroUsd } from "../money.ts";

/** What credit can be paid in besides USDC, now. */
export interface AssetOffers {
  /** In the order of the settings. The same array until it changes. */
  current(): readonly TopUpToken[];
  /** `refused`: it is one of the settings, and its price or its mint is not good now. `unknown`: nobody ever offered it. */
  standingOf(mint: string): "offered" | "refused" | "unknown";
}

const U64_MAX = 2n ** 64n - 1n;
const BASIS_POINTS = 10_000n;
const MICRO_PER_USD = 1_000_000n;

/**
 * What an amount of dollars costs in a token at its price less the haircut: atomic units, rounded up. Undefined: it has no
 * price, or the chain knows no such amount.
 */
export function amountIn(
  { decimals, price, haircutBasisPoints }: TopUpToken,
  usd: MicroUsd,
): bigint | undefined {
  if (price === undefined) return undefined;
  const worth = MICRO_PER_USD * price.numerator * (BASIS_POINTS - haircutBasisPoints);
  const asked = usd * price.denominator * BASIS_POINTS * 10n ** BigInt(decimals);
  const amount = (asked + worth - 1n) / worth;
  return amount > U64_MAX ? undefined : amount;
}
