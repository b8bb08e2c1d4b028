import { randomBytes } from "node:crypto";
import { type KeySettings, UNRESTRICTED } from "../../server/ledger/account-ledger.ts";
import type { UsageRecord } from "../../server/ledger/call-ledger.ts";
import { hashSecret, mintKey } from "../../server/ledger/keys.ts";
import { openShop, type Shop, type ShopOptions } from "../support/shop.ts";

/** Dollars a million tokens, so that one token of input costs 1 and one of output 2 micro-dollars. */
const PRICED_MODELS = `
models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000, input: "$1/1M", output: "$2/1M" }
  flat-test: { upstream: default, model: upstream-model, maxOutput: 1000, price: "$0.01" }
defaultModel: gpt-test
`;

/** An account with a key, on a shop's own ledger. */
export interface Customer {
  readonly account: string;
  readonly keyId: string;
  readonly secret: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface KeyedShop extends Shop {
  /** Opens an account with this balance and a key on it. */
  customer(balance: bigint, settings?: Partial<KeySettings>, prefix?: string): Promise<Customer>;
  /** Another key on the same account. */
  keyFor(account: string, settings?: Partial<KeySettings>, prefix?: string): Promise<Customer>;
  /** Balance, what is held of it, and what the journal says it must be. */
  books(account: string): Promise<{ balance: bigint; held: bigint; journal: bigint }>;
  usageOf(account: string): Promise<readonly UsageRecord[]>;
}

export async function openKeyedShop(options: ShopOptions = {}): Promise<KeyedShop> {
  const shop = await openShop({ models: PRICED_MODELS, ...options });

  async function keyFor(
    account: string,
    settings: Partial<KeySettings> = {},
    prefix = shop.config.keys.prefixes[0] ?? "",
  ): Promise<Customer> {
    const { secret, last4 } = mintKey(prefix);
    const keyId = `key_${randomBytes(8).toString("hex")}`;
    const hash = hashSecret(secret, shop.config.keys.pepper);
    const created = await shop.gateway.ledger.createKey(
      keyId,
      account,
      { hash, prefix, last4 },
      { label: "test", ...UNRESTRICTED, ...settings },
      undefined,
    );
    if (created.outcome !== "created") throw new Error(created.outcome);
    const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
    return { account, keyId, secret, headers };
  }

  return Object.assign(shop, {
    keyFor,
    async customer(balance: bigint, settings?: Partial<KeySettings>, prefix?: string) {
      const account = `acct_${randomBytes(8).toString("hex")}`;
      const { ledger } = shop.gateway;
      await ledger.createAccount(account, "Test");
      if (balance > 0n) await ledger.creditAccount(account, balance, "opening");
      return keyFor(account, settings, prefix);
    },
    async books(account: string) {
      const { ledger } = shop.gateway;
      const record = await ledger.account(account);
      const journal = await ledger.journal(account);
      return {
        balance: record?.balance ?? 0n,
        held: record?.held ?? 0n,
        journal: journal.reduce((sum, entry) => sum + entry.amount, 0n),
      };
    },
    usageOf: (account: string) => shop.gateway.ledger.usage({ account, limit: 1_000 }),
  });
}

export function chat(text: string, more: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ model: "gpt-test", messages: [{ role: "user", content: text }], ...more });
}
