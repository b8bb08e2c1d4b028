/**
 * Money. One MicroUsd is 0.000001 USD, and one atomic unit of USDC (6 decimals).
 * Never a `number`: every sum is a bigint, every edge (JSON, YAML, SQL, Lua) a decimal string.
 */
export type MicroUsd = bigint;

/** Decimals of a dollar that one MicroUsd resolves; also USDC's `decimals`. */
const USD_DECIMALS = 6;

const MICRO_PER_USD = 1_000_000n;
const USD_PATTERN = /^\$?(\d{1,12})(?:\.(\d{1,6}))?$/;

/**
 * Reads a price as people write it: `"$0.02"`, `"0.02"`, `"5"`.
 * Returns undefined for anything else (negative, more than 6 decimals, exponents, blanks), so that the caller
 * names the field that was wrong.
 */
export function parseUsd(text: string): MicroUsd | undefined {
  const match = USD_PATTERN.exec(text);
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return BigInt(whole) * MICRO_PER_USD + BigInt(fraction.padEnd(USD_DECIMALS, "0"));
}

/** Writes an amount as a plain decimal without `$`: 20000n -> "0.02", 5000000n -> "5.00". At least two decimals. */
export function formatUsd(amount: MicroUsd): string {
  const sign = amount < 0n ? "-" : "";
  const absolute = amount < 0n ? -amount : amount;
  const fraction = (absolute % MICRO_PER_USD)
    .toString()
    .padStart(USD_DECIMALS, "0")
    .replace(/0{1,4}$/, "");
  return `${sign}${absolute / MICRO_PER_USD}.${fraction}`;
}

/** So many ten-thousandths of an amount, rounded up. */
export function shareOf(amount: MicroUsd, basisPoints: bigint): MicroUsd {
  return (amount * basisPoints + 9_999n) / 10_000n;
}
