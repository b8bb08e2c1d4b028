/** Micro-dollars as dollars, exact, two decimals at least: `"1234500"` -> `"$1.2345"`. */
export function dollars(micro: string | bigint): string {
  const amount = BigInt(micro);
  const digits = (amount < 0n ? -amount : amount).toString().padStart(7, "0");
  const whole = digits.slice(0, -6).replace(/\B(?=(?:\d{3})+$)/g, ",");
  const fraction = digits.slice(-6).replace(/0{1,4}$/, "");
  return `${amount < 0n ? "−" : ""}$${whole}.${fraction}`;
}

/** What a person typed, as micro-dollars; undefined if it is no amount. */
export function parseDollars(text: string): bigint | undefined {
  const match = /^\$?\s*(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text.trim());
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return BigInt(whole + fraction.padEnd(6, "0"));
}

/** As the API takes it: `"5.25"`. */
export function plainDollars(amount: bigint): string {
  return dollars(amount).slice(1).replaceAll(",", "");
}

/** For the height of a bar, where the last digit cannot be seen. */
export function forDrawing(micro: string): number {
  return Number(BigInt(micro)) / 1_000_000;
}

/** How much of a limit is spent, 0 to 100. */
export function percentOf(spent: string, limit: string): number {
  const whole = BigInt(limit);
  if (whole === 0n) return 100;
  const percent = Number((BigInt(spent) * 100n) / whole);
  return Math.min(100, Math.max(0, percent));
}
