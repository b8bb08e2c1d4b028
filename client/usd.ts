/** An amount of USD in millionths, which is also USDC in atomic units. Never a `number`. */
export type MicroUsd = bigint;

const USD_PATTERN = /^\$?(\d{1,12})(?:\.(\d{1,6}))?$/;

/** Reads `"$0.02"`, `"0.02"`, `"5"`; undefined for anything else. A test holds it to the server's reader. */
export function parseUsd(text: string): MicroUsd | undefined {
  const match = USD_PATTERN.exec(text);
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return BigInt(whole + fraction.padEnd(6, "0"));
}

/** Writes an amount that is not negative, with two decimals at least: 20000n -> "0.02". */
export function formatUsd(amount: MicroUsd): string {
  const digits = amount.toString().padStart(7, "0");
  return `${digits.slice(0, -6)}.${digits.slice(-6).replace(/0{1,4}$/, "")}`;
}
