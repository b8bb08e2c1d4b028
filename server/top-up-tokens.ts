import { setTimeout as wait } from "node:timers/promises";
import { iso } from "./admin/views.ts";
import type { TokenPrice, TopUpToken } from "./config.ts";
import type { Logger } from "./log.ts";
import type { AssetOffers } from "./payment/asset-offers.ts";
import { ChainError } from "./payment/chain.ts";
import { refuseMint } from "./payment/mint-account.ts";
import type { NodePool } from "./payment/node-pool.ts";

/**
 * Why a token is not offered. `mint_unread`: no node has shown its mint yet. `mint_refused`: the mint is not what the settings
 * say, or its transfers are not as good as cash. `no_token_account`: payTo has no account for it.
 */
type TokenProblem =
  | "price_missing"
  | "price_in_future"
  | "price_stale"
  | "mint_unread"
  | "mint_refused"
  | "no_token_account";

/** What is public about a token, as JSON. */
export interface PublicToken {
  readonly symbol: string;
  readonly mint: string;
  readonly decimals: number;
  /** Dollars for one whole token, before the haircut. */
  readonly usd_price: string | null;
  readonly haircut_percent: string;
  readonly priced_at: string | null;
  /** From then on the price is too old. */
  readonly price_ends_at: string | null;
  readonly offered: boolean;
  readonly reason: TokenProblem | null;
}

/** The tokens besides USDC that credit can be paid in, and whether each is offered now. */
export interface TopUpTokens {
  readonly offers: AssetOffers;
  /** All of them, in the order of the settings, for whoever wants to show them. */
  list(): readonly PublicToken[];
  close(): void;
}

export interface TopUpTokensOptions {
  readonly tokens: readonly TopUpToken[];
  /** Undefined: no mint can be read, so none is offered. */
  readonly nodes: NodePool | undefined;
  readonly payTo: string;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** How often a node is asked again for what it has not shown; default 5 s. */
  readonly lookEveryMs?: number;
}

interface Watched {
  readonly token: TopUpToken;
  readonly path: string;
  /** Undefined: the chain has nothing against it. */
  problem: Extract<TokenProblem, `mint_${string}` | "no_token_account"> | undefined;
  /** The price's problem that the log was last told of. */
  told: TokenProblem | undefined;
}

/** A start waits this long for nodes that do not answer; then they are asked on in the background. */
const START_WAIT_MS = 3_000;
const LOOK_EVERY_MS = 5_000;

/**
 * Reads each token's mint, and whether payTo has an account for it. Rejects with an Error that names the setting if a mint is
 * wrong. Where no node answers the token is not offered until one does, and then is refused in the log if it is wrong.
 */
export async function openTopUpTokens(options: TopUpTokensOptions): Promise<TopUpTokens> {
  const { nodes, log, now, lookEveryMs = LOOK_EVERY_MS } = options;
  const watched = options.tokens.map((token, index): Watched => {
    return { token, path: `topup.tokens[${index}]`, problem: "mint_unread", told: undefined };
  });
  const opened = { started: false };
  const lookAtAll = async (pool: NodePool): Promise<void> => {
    const open = watched.filter(({ problem }) => problem !== undefined && problem !== "mint_refused");
    await Promise.all(open.map((each) => lookAt(pool, each, options, opened)));
  };
  let timer: NodeJS.Timeout | undefined;
  if (watched.length > 0) {
    const first = nodes === undefined ? Promise.resolve() : lookAtAll(nodes);
    first.catch(() => undefined);
    await Promise.race([first, wait(START_WAIT_MS, undefined, { ref: false })]);
    opened.started = true;
    const next = async (): Promise<void> => {
      for (const each of watched) tellPrice(each, log, now());
      if (nodes !== undefined) await lookAtAll(nodes);
    };
    const onFault = (error: unknown): void => log.error({ err: error }, "topup.tokens");
    timer = setInterval(() => void next().catch(onFault), lookEveryMs).unref();
    for (const each of watched) tellPrice(each, log, now());
  }
  const problemOf = (each: Watched): TokenProblem | undefined =>
    priceProblem(each.token, now()) ?? each.problem;
  return {
    offers: createOffers(watched, problemOf),
    list: () => watched.map((each) => publicToken(each.token, problemOf(each))),
    close: () => clearInterval(timer),
  };
}

function createOffers(
  watched: readonly Watched[],
  problemOf: (each: Watched) => TokenProblem | undefined,
): AssetOffers {
  let offered: readonly TopUpToken[] = [];
  function current(): readonly TopUpToken[] {
    const now = watched.filter((each) => problemOf(each) === undefined).map(({ token }) => token);
    const isSame = now.length === offered.length && now.every((token, index) => token === offered[index]);
    if (!isSame) offered = now;
    return offered;
  }
  return {
    current,
    standingOf(mint) {
      if (!watched.some(({ token }) => token.mint === mint)) return "unknown";
      return current().some((token) => token.mint === mint) ? "offered" : "refused";
    },
  };
}

/** A price is good from its time on, until it is too old. */
function priceProblem({ price, maxAgeMs }: TopUpToken, now: number): TokenProblem | undefined {
  if (price === undefined) return "price_missing";
  if (price.at > now) return "price_in_future";
  return now - price.at >= maxAgeMs ? "price_stale" : undefined;
}

/** One line when a price stops being good, and one when it is good again. */
function tellPrice(each: Watched, log: Logger, now: number): void {
  const problem = priceProblem(each.token, now);
  if (problem === each.told) return;
  each.told = problem;
  const { path, token } = each;
  const { symbol } = token;
  if (problem === undefined) log.info({ symbol }, `${path}: the price is good; the token is offered`);
  else log.warn({ symbol, problem }, `${path}: the token is not offered until it has a fresh price`);
}

async function lookAt(
  nodes: NodePool,
  each: Watched,
  { payTo, log }: TopUpTokensOptions,
  opened: { readonly started: boolean },
): Promise<void> {
  const { token, path } = each;
  const { mint, decimals } = token;
  try {
    const refusal = refuseMint(await nodes.ask((node) => node.mint(mint)), decimals);
    if (refusal !== undefined) {
      each.problem = "mint_refused";
      if (!opened.started) throw new Error(`${path}.mint: ${refusal}`);
      log.error({ mint }, `${path}.mint: ${refusal}. The token is not offered.`);
      return;
    }
    const account = await nodes.ask((node) => node.tokenAccount(payTo, mint));
    const problem = account.exists ? undefined : "no_token_account";
    if (problem !== undefined && each.problem !== problem) {
      log.error(
        { payTo, tokenAccount: account.address, mint },
        `${path}.mint: payTo has no token account for it, so it is not offered. Create it once: spl-token create-account ${mint} --owner ${payTo} --fee-payer <keypair>`,
      );
    }
    each.problem = problem;
  } catch (error) {
    if (!(error instanceof ChainError)) throw error;
    if (!opened.started)
      log.warn({ err: error, mint }, `${path}.mint: cannot be read now, so it is not offered`);
  }
}

function publicToken(token: TopUpToken, problem: TokenProblem | undefined): PublicToken {
  const { symbol, mint, decimals, price, maxAgeMs, haircutBasisPoints } = token;
  return {
    symbol,
    mint,
    decimals,
    usd_price: price === undefined ? null : formatPrice(price),
    haircut_percent: decimal(haircutBasisPoints, 2),
    priced_at: iso(price?.at),
    price_ends_at: iso(price && price.at + maxAgeMs),
    offered: problem === undefined,
    reason: problem ?? null,
  };
}

function formatPrice({ numerator, denominator }: TokenPrice): string {
  return decimal(numerator, denominator.toString().length - 1);
}

/** 125n with 4 decimals -> "0.0125"; without zeros at its end. */
function decimal(value: bigint, decimals: number): string {
  const digits = value.toString().padStart(decimals + 1, "0");
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  const whole = digits.slice(0, digits.length - decimals);
  return fraction === "" ? whole : `${whole}.${fraction}`;
}
