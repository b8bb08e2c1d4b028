import { z } from "zod";
import type { Answer } from "../admin/action-parts.ts";
import type { Actions } from "../admin/actions.ts";
import { noProviderKey } from "../admin/actions.ts";
import { parse } from "../admin/inputs.ts";
import { accountView, journalView, topUpView } from "../admin/views.ts";
import { KEYS_ROUTE, TOPUP_ROUTE } from "../catalog.ts";
import { integer } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import type { JournalEntry } from "../ledger/account-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Receipts } from "../receipts/receipts.ts";

export interface OwnAccountParts {
  readonly actions: Actions;
  readonly ledger: Ledger;
  /** Undefined: none are given. */
  readonly receipts: Receipts | undefined;
  /** CAIP-2. */
  readonly network: string;
}

/** What a payment bought, by its route. */
const KINDS: ReadonlyMap<string, string> = new Map([
  [`POST ${TOPUP_ROUTE.path}`, "top_up"],
  [`POST ${KEYS_ROUTE.path}`, "key_purchase"],
]);

export type OwnAccount = ReturnType<typeof createOwnAccount>;

/** A wallet costs nothing to make, so what it may store is bounded. Revoked ones count. */
export const MAX_KEYS = 1_000;
const DEFAULT_PAGE = 100;

/** Of each a payment is looked up, and a receipt signed. */
const MAX_TOPUPS = 100;

const before = z.string().min(1).max(40).optional();
const journalQuery = z.strictObject({ before, limit: integer(1, 1_000).optional() });
const topUpQuery = z.strictObject({ before, limit: integer(1, MAX_TOPUPS).optional() });

/**
 * The operator's actions, bound to the account of one wallet: `wallet:<address>`. Nothing here takes an account from outside, and
 * what belongs to another is not found. An account that nobody wrote to yet is empty; the first key makes it.
 */
export function createOwnAccount(parts: OwnAccountParts) {
  return { ...ownKeys(parts), ...ownRecords(parts), ...ownTopUps(parts), ...ownProviderKeys(parts) };
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
      const own = await Promise.all(
        entries.map(async (entry) => {
          const payment = paymentOf(entry);
          const record = payment === undefined ? undefined : await ledger.payment(payment, wallet);
          return { entry, payment, record };
        }),
      );
      const shown = [];
      // One after the other: where another wallet paid, each asks every part of the ledger.
      for (const { entry, payment, record } of own) {
        const isForeign = payment !== undefined && record === undefined && entry.kind === "topup";
        shown.push(journalView(entry, payment, isForeign ? await ledger.payment(payment) : record));
      }
      return { journal: shown, next_before: next ?? null };
    },
  };
}

/** The id of the payment that is behind an entry. */
function paymentOf({ reference }: JournalEntry): string | undefined {
  return /^payment:(.+)$/.exec(reference)?.[1];
}

function ownTopUps({ ledger, receipts }: OwnAccountParts) {
  async function show(wallet: string, entry: JournalEntry) {
    const id = paymentOf(entry) ?? "";
    // Another wallet may have paid it in; only then are all payers looked through.
    const record = (await ledger.payment(id, wallet)) ?? (await ledger.payment(id));
    const kind = KINDS.get(record?.route ?? "") ?? "owed_credit";
    // What was not served has none, and another wallet's is that wallet's.
    const hasReceipt = record?.payer === wallet && kind !== "owed_credit";
    const path = record?.route.slice(record.route.indexOf(" ") + 1) ?? "";
    const receipt = hasReceipt ? await receipts?.issue({ ...record, path }) : undefined;
    return topUpView(entry, record, { kind, receipt });
  }

  return {
    /** Payments that credited the account, newest first, each with its transaction and, where it bought credit, its receipt. */
    async topUps(wallet: string, query: unknown): Promise<Answer> {
      const { before, limit = MAX_TOPUPS } = parse(topUpQuery, query);
      const { entries, next } = await ledger.paidInPage(accountOf(wallet), before, limit);
      const shown = [];
      // One after the other: where another wallet paid, each asks every part of the ledger.
      for (const entry of entries) shown.push(await show(wallet, entry));
      return { topups: shown, next_before: next ?? null };
    },
  };
}

function ownProviderKeys({ actions, ledger }: OwnAccountParts) {
  return {
    async listProviderKeys(wallet: string): Promise<Answer> {
      const exists = (await ledger.account(accountOf(wallet))) !== undefined;
      return exists ? actions.listProviderKeys(accountOf(wallet)) : { provider_keys: [] };
    },

    showProviderKey(wallet: string, provider: string): Promise<Answer> {
      return actions.showProviderKey(accountOf(wallet), provider);
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
