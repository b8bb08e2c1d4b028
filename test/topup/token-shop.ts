import { expect } from "vitest";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import type { ShopOptions } from "../support/shop.ts";
import { landed } from "./credit-shop.ts";

const HOUR_MS = 3_600_000;

/** A token as the settings name it; what is not given is good. */
export interface Setting {
  readonly symbol: string;
  readonly mint: string;
  readonly decimals: number;
  readonly usdPrice?: string | undefined;
  readonly pricedAt?: string | undefined;
  readonly maxAgeHours?: number;
  readonly haircut?: string;
}

export interface TokenShop extends KeyedShop {
  /** Of the classic program, 6 decimals, at $0.50 less 10 %: $0.45. */
  readonly classic: Setting;
  /** Local mode's, of Token-2022, 9 decimals, at $0.0125 less 5 %: $0.011875. */
  readonly play: Setting;
}

export function hoursAgo(hours: number): string {
  return new Date(Date.now() - hours * HOUR_MS).toISOString();
}

export function yamlOf(tokens: readonly Setting[]): string {
  return `topup: ${JSON.stringify({ min: "$0.01", max: "$2.00", tokens })}\n`;
}

/** A shop that sells credit for USDC and for two tokens, one of each program. */
export async function openTokenShop(options: ShopOptions = {}): Promise<TokenShop> {
  const shop = await openKeyedShop({ ...options, noGateway: true });
  const { localnet } = shop;
  const mint = await localnet.createMint({ program: "token", decimals: 6 });
  await localnet.createTokenAccount(localnet.merchant, mint);
  const pricedAt = hoursAgo(1);
  const classic = { symbol: "CLASSIC", mint, decimals: 6, usdPrice: "$0.50", pricedAt, haircut: "10%" };
  const play = { symbol: "PLAY", mint: localnet.play, decimals: 9, usdPrice: "$0.0125", pricedAt };
  await shop.restart(yamlOf([classic, play]));
  return Object.assign(shop, { classic, play });
}

/** Every transfer in any of the tokens is on one account, once, and nothing else is; every balance is its journal. */
export async function expectTokenBooksClosed(
  shop: TokenShop,
  ledger: KeyedShop["gateway"]["ledger"] = shop.gateway.ledger,
): Promise<void> {
  const credited = new Set<string>();
  for (const { id } of await ledger.accounts()) {
    for (const { reference, amount } of await ledger.journal(id)) {
      const payment = /^payment:(.*)$/.exec(reference)?.[1];
      if (payment === undefined) continue;
      expect(credited.has(payment), `${payment} is credited once`).toBe(false);
      credited.add(payment);
      expect(amount).toBe((await ledger.payment(payment))?.amount);
    }
  }
  const moved = [landed(shop), ...[shop.classic, shop.play].map(({ mint }) => landed(shop, mint))];
  expect(credited).toEqual(new Set(moved.flatMap((each) => [...each.keys()])));
  expect(await ledger.checkAccounts()).toEqual([]);
}
