import { z } from "zod";
import type { Answer } from "../admin/action-parts.ts";
import type { Actions } from "../admin/actions.ts";
import { noProviderKey } from "../admin/actions.ts";
import { parse } from "../admin/inputs.ts";
import { accountView, journalView, providerKeyView } from "../admin/views.ts";
import { integer } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";

export interface OwnAccountParts {
  readonly actions: Actions;
  readonly ledger: Ledger;
  /** CAIP-2. */
  readonly network: string;
}

export type OwnAccount = ReturnType<typeof createOwnAccount>;

/** A wallet costs nothing to make, so what it may store is bounded. Revoked ones count. */
export const MAX_KEYS = 1_000;
const DEFAULT_PAGE = 100;

const journalQuery = z.strictObject({
  before: z.string().min(1).max(40).optional(),
  limit: integer(1, 1_000).optional(),
});

/**
 * The operator's actions, bound to the account of one wallet: `wallet:<address>`. Nothing here takes an account from outside, and
 * what belongs to another is not found. An account that nobody wrote to yet is empty; the first key makes it.
 */
export function createOwnAccount(parts: OwnAccountParts) {
  return { ...ownKeys(parts), ...ownRecords(parts), ...ownProviderKeys(parts) };
}

function ownKeys({ actions, ledger }: OwnAccountParts) {
  /** Does it if the key is this wallet's. */
  async function owned(wallet: string, id: string, act: () => Promise<Answer>): Promise<Answer> {
    await checkOwner(ledger, wallet, id);
    return act();
  }

  return {
    async listKeys(wallet: string): Promise<Answer> {
      const exists = (await ledger.account(accountOf(wallet))) !== undefined;
      return exists ? actions.listKeys(accountOf(wallet)) : { keys: [] };
    },

    async createKey(wallet: string, input: unknown, repeatKey: string | undefined): Promise<Answer> {
      const account = accountOf(wallet);
      const order = { ...fieldsOf(input), account };
      if ((await ledger.keys(account)).length >= MAX_KEYS) throw new GatewayError("too_many_keys");
      return madeIfMissing(ledger, account, () => actions.createKey(order, repeatKey));
    },

    showKey: (wallet: string, id: string) => owned(wallet, id, () => actions.showKey(id)),

    changeKey: (wallet: string, id: string, input: unknown) =>
      owned(wallet, id, () => actions.changeKey(id, input)),

    revokeKey: (wallet: string, id: string) => owned(wallet, id, () => actions.revokeKey(id)),

    rotateKey: (wallet: string, id: string, input: unknown, repeatKey: string | undefined) =>
      owned(wallet, id, () => actions.rotateKey(id, input, repeatKey)),
  };
}

function ownRecords({ ledger, network }: OwnAccountParts) {
  return {
    async show(wallet: string): Promise<Answer> {
      const id = accountOf(wallet);
      const account = await ledger.account(id);
      const none = { id, name: "", balance: 0n, held: 0n, createdAt: 0 };
      const view = accountView(account ?? none);
      return { ...view, ...(account === undefined ? { created_at: null } : {}), wallet, network };
    },

    /** The filter of `usage` for this account alone. `key_not_found`: it names somebody else's key. */
    async usageFilter(wallet: string, query: object): Promise<object> {
      const filter = { ...fieldsOf(query), account: accountOf(wallet) };
      if ("key" in filter && typeof filter.key === "string") await checkOwner(ledger, wallet, filter.key);
      return filter;
    },

    /** Top-ups, credits and debits, newest first, with the transaction of each payment. */
    async journal(wallet: string, query: unknown): Promise<Answer> {
      const { before, limit = DEFAULT_PAGE } = parse(journalQuery, query);
      const { entries, next } = await ledger.journalPage(accountOf(wallet), before, limit);
      const shown = await Promise.all(
        entries.map(async (entry) => {
          const [, payment] = /^payment:(.+)$/.exec(entry.reference) ?? [];
          const record = payment === undefined ? undefined : await ledger.payment(payment, wallet);
          return journalView(entry, payment, record);
        }),
      );
      return { journal: shown, next_before: next ?? null };
    },
  };
}

function ownProviderKeys({ actions, ledger }: OwnAccountParts) {
  return {
    async listProviderKeys(wallet: string): Promise<Answer> {
      const exists = (await ledger.account(accountOf(wallet))) !== undefined;
      return exists ? actions.listProviderKeys(accountOf(wallet)) : { provider_keys: [] };
    },

    async showProviderKey(wallet: string, provider: string): Promise<Answer> {
      const records = await ledger.providerKeys(accountOf(wallet));
      const found = records.find((record) => record.provider === provider);
      if (found === undefined) throw noProviderKey();
      return providerKeyView(found);
    },

    setProviderKey(wallet: string, provider: string, input: unknown): Promise<Answer> {
      const account = accountOf(wallet);
      return madeIfMissing(ledger, account, () => actions.setProviderKey(account, provider, input));
    },

    async deleteProviderKey(wallet: string, provider: string): Promise<Answer> {
      if ((await ledger.account(accountOf(wallet))) === undefined) throw noProviderKey();
      return actions.deleteProviderKey(accountOf(wallet), provider);
    },
  };
}

/** `key_not_found` also for a key of somebody else. Keys never change their account, so nothing races. */
async function checkOwner(ledger: Ledger, wallet: string, keyId: string): Promise<void> {
  const key = await ledger.key(keyId);
  if (key === undefined || key.account !== accountOf(wallet)) throw new GatewayError("key_not_found");
}

/** Input is judged before anything is made. */
async function madeIfMissing(ledger: Ledger, account: string, act: () => Promise<Answer>): Promise<Answer> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== "account_not_found") throw error;
    await ledger.createAccount(account, "");
    return act();
  }
}

/** Where the money of a wallet is. */
export function accountOf(wallet: string): string {
  return `wallet:${wallet}`;
}

/** `account` is not the caller's to say. */
function fieldsOf(input: unknown): Readonly<Record<string, unknown>> {
  const fields = parse(z.record(z.string(), z.unknown()), input);
  if (!("account" in fields)) return fields;
  throw new GatewayError("invalid_request", { message: '"account": unknown field' });
}
