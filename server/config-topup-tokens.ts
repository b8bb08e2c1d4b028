import { z } from "zod";
import type { Config, TokenPrice, TopUpToken } from "./config.ts";
import type { Problems } from "./config-problems.ts";
import type { ConfigInput } from "./config-schema.ts";
import { address, integer, refuse, text } from "./config-values.ts";

/** Each takes its room in the header of a 402. */
const MAX_TOKENS = 3;
const HOUR_MS = 3_600_000;
/** A token that loses more than this between two looks at its price is none to be paid in. */
const MOST_HAIRCUT = 9_000n;

/** `topup.tokens`: what credit can be paid in besides USDC. */
export function topUpTokens() {
  const token = z.strictObject({
    symbol: text("a symbol such as ROUTER").regex(/^[A-Za-z0-9]{1,16}$/, {
      error: "a symbol has 1 to 16 letters and digits",
    }),
    mint: address(),
    decimals: integer(0, 18),
    usdPrice: assetPrice().optional(),
    pricedAt: moment().optional(),
    maxAgeHours: integer(1, 8_760).default(24),
    haircut: haircut().prefault("5%"),
  });
  return z
    .array(token)
    .max(MAX_TOKENS, { error: `at most ${MAX_TOKENS} tokens` })
    .optional();
}

/** Dollars for one whole token, exactly: a market price is often finer than a millionth of a dollar. */
function assetPrice() {
  return text('a price as a string, such as "$0.0123"').transform((value, ctx) => {
    const [, whole, fraction = ""] = /^\$?(\d{1,12})(?:\.(\d{1,18}))?$/.exec(value) ?? [];
    const numerator = whole === undefined ? 0n : BigInt(whole + fraction);
    if (numerator > 0n) return { numerator, denominator: 10n ** BigInt(fraction.length) };
    return refuse(ctx, 'write a price above 0 such as "$0.0123" (at most 18 decimals)');
  });
}

/** A moment with its zone, as milliseconds since 1970. */
function moment() {
  const hint = 'write a time with its zone, such as "2026-11-26T10:00:00Z"';
  return z.iso.datetime({ offset: true, error: hint }).transform((value) => Date.parse(value));
}

/** What is taken off the price, `"5%"` (at most two decimals), as ten-thousandths. */
function haircut() {
  return text('a share such as "5%"').transform((value, ctx) => {
    const [, whole, fraction = ""] = /^(\d{1,2})(?:\.(\d{1,2}))?%$/.exec(value) ?? [];
    if (whole === undefined) return refuse(ctx, 'write a share such as "5%" (at most 2 decimals)');
    const points = BigInt(whole + fraction.padEnd(2, "0"));
    return points > MOST_HAIRCUT ? refuse(ctx, "must be at most 90%") : points;
  });
}

type TokenInput = NonNullable<NonNullable<ConfigInput["file"]["topup"]>["tokens"]>[number];

/** The tokens of this configuration; local mode has one of its own, so that everything can be tried. */
export function resolveTopUpTokens(
  { topup }: ConfigInput["file"],
  { network, asset }: Pick<Config, "network" | "asset">,
  sold: boolean,
  problems: Problems,
): readonly TopUpToken[] {
  const tokens = topup?.tokens ?? [];
  reportTwice(tokens, "mint", problems);
  reportTwice(tokens, "symbol", problems);
  for (const [index, { mint, symbol, usdPrice, pricedAt }] of tokens.entries()) {
    const at = ["topup", "tokens", index];
    if (mint === asset) problems.add([...at, "mint"], "is USDC, which is always accepted");
    if (symbol.toUpperCase() === "USDC") problems.add([...at, "symbol"], "is USDC's");
    if (usdPrice !== undefined && pricedAt === undefined) {
      problems.add([...at, "pricedAt"], "is missing: nobody could tell how old usdPrice is");
    }
    if (usdPrice === undefined && pricedAt !== undefined) {
      problems.add([...at, "usdPrice"], "is missing beside pricedAt");
    }
  }
  if (!sold) return [];
  return network === "local" && topup?.tokens === undefined ? [playToken()] : tokens.map(resolveToken);
}

function reportTwice(tokens: readonly TokenInput[], field: "mint" | "symbol", problems: Problems): void {
  const seen = new Set<string>();
  for (const [index, { [field]: value }] of tokens.entries()) {
    if (seen.has(value)) problems.add(["topup", "tokens", index, field], "is named twice");
    seen.add(value);
  }
}

function resolveToken({
  symbol,
  mint,
  decimals,
  usdPrice,
  pricedAt,
  maxAgeHours,
  haircut,
}: TokenInput): TopUpToken {
  const price: TokenPrice | undefined =
    usdPrice === undefined || pricedAt === undefined ? undefined : { ...usdPrice, at: pricedAt };
  return { symbol, mint, decimals, price, maxAgeMs: maxAgeHours * HOUR_MS, haircutBasisPoints: haircut };
}

/** Local mode's play token (localnet/token.ts), at a cent and a quarter, priced when the process starts. */
function playToken(): TopUpToken {
  return {
    symbol: "PLAY",
    mint: PLAY_MINT,
    decimals: 9,
    price: { numerator: 125n, denominator: 10_000n, at: Date.now() },
    maxAgeMs: 8_760 * HOUR_MS,
    haircutBasisPoints: 500n,
  };
}

const PLAY_MINT = "PLAY111111111111111111111111111111111111111";
