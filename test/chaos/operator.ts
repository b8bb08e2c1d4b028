import { setTimeout as wait } from "node:timers/promises";
import type { Credit } from "./evidence.ts";

/** The operator, over the admin API of whichever gateway answers. */
export interface Operator {
  readonly credits: readonly Credit[];
  openAccount(id: string, balance: bigint): Promise<void>;
  /** Returns the secret of a new key. */
  createKey(account: string, label: string): Promise<string>;
  /** Credited once, however often it has to be asked. */
  credit(account: string, amount: bigint): Promise<void>;
}

type Log = Credit & { confirmed: boolean };

const TRIES = 200;

export function createOperator(adminUrls: readonly string[], token: string): Operator {
  const credits: Log[] = [];
  let turn = 0;

  async function ask(path: string, body: unknown, repeatKey: string): Promise<Record<string, unknown>> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      turn += 1;
      try {
        const response = await fetch(`${adminUrls[turn % adminUrls.length]}${path}`, {
          method: "POST",
          headers: {
            authorization: `Bearer ${token}`,
            "content-type": "application/json",
            "idempotency-key": repeatKey,
          },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(5_000),
        });
        const text = await response.text();
        if (response.ok) return JSON.parse(text) as Record<string, unknown>;
        if (response.status < 500) throw new TypeError(`${path} was answered ${response.status}: ${text}`);
      } catch (error) {
        if (error instanceof TypeError && error.message.startsWith("/admin")) throw error;
      }
      await wait(100);
    }
    throw new Error(`No gateway answers ${path}.`);
  }

  async function credit(account: string, amount: bigint): Promise<void> {
    const entry: Log = { account, reference: `chaos-${credits.length}`, amount, confirmed: false };
    credits.push(entry);
    const dollars = `${amount / 1_000_000n}.${(amount % 1_000_000n).toString().padStart(6, "0")}`;
    const input = { amount: dollars, reference: entry.reference };
    await ask(`/admin/accounts/${account}/credits`, input, entry.reference);
    entry.confirmed = true;
  }

  return {
    credits,
    credit,
    openAccount: async (id, balance) => {
      await ask("/admin/accounts", { id, name: id }, `account-${id}`);
      await credit(id, balance);
    },
    createKey: async (account, label) => {
      const key = await ask("/admin/keys", { account, label }, `key-${label}`);
      if (typeof key["key"] !== "string") throw new Error("The key came without its secret.");
      return key["key"];
    },
  };
}
