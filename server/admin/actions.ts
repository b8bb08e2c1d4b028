import { randomBytes } from "node:crypto";
import { GatewayError } from "../errors.ts";
import type { ProviderKeyRecord } from "../ledger/account-ledger.ts";
import type { UsageFilter, UsageRecord } from "../ledger/call-ledger.ts";
import { type ActionParts, type Answer, checkRepeatKey, sha256 } from "./action-parts.ts";
import { accountInput, creditInput, parse, parseUsageQuery, providerKeyInput } from "./inputs.ts";
import { keyActions } from "./key-actions.ts";
import { usageCsv } from "./usage-csv.ts";
import { accountView, discrepancyView, money, providerKeyView, usageView } from "./views.ts";

/**
 * The operator's actions. `input` is whatever came from outside; a wrong one is `invalid_request`. `repeatKey` is the caller's
 * idempotency key. All throw GatewayError.
 */
export type Actions = ReturnType<typeof createActions>;

const DEFAULT_PAGE = 100;

/** Builds the actions over one ledger. */
export function createActions(parts: ActionParts) {
  return {
    ...accountActions(parts),
    ...keyActions(parts),
    ...usageActions(parts),
    ...providerKeyActions(parts),
  };
}

function accountActions({ ledger }: ActionParts) {
  return {
    /** `account_exists` if the id is taken; the same again under the same idempotency key is a repeat. */
    async createAccount(input: unknown, repeatKey?: string): Promise<Answer> {
      const { id: wanted, name } = parse(accountInput, input);
      checkRepeatKey(repeatKey);
      // An id that follows from the idempotency key makes the second attempt meet the first.
      const derived =
        repeatKey === undefined ? randomBytes(10).toString("hex") : sha256(`account\n${repeatKey}`);
      const id = wanted ?? `acct_${derived.slice(0, 20)}`;
      const outcome = await ledger.createAccount(id, name ?? id);
      const account = await ledger.account(id);
      if (account === undefined) throw new GatewayError("internal_error");
      const repeated = outcome === "exists";
      if (repeated && repeatKey === undefined) throw new GatewayError("account_exists");
      if (repeated && account.name !== (name ?? id)) throw new GatewayError("idempotency_key_reused");
      return { ...accountView(account), repeated };
    },

    /** All of them, with their balances. */
    async listAccounts(): Promise<Answer> {
      return { accounts: (await ledger.accounts()).map(accountView) };
    },

    /** Once for each reference. `credit_conflict`: another amount has it. */
    async creditAccount(id: string, input: unknown): Promise<Answer> {
      const { amount, reference } = parse(creditInput, input);
      const { outcome, balance } = await ledger.creditAccount(id, amount, reference);
      if (outcome === "not_found") throw new GatewayError("account_not_found");
      if (outcome === "conflict") throw new GatewayError("credit_conflict");
      return {
        account: id,
        reference,
        ...money("amount", amount),
        ...money("balance", balance),
        repeated: outcome === "repeated",
      };
    },
  };
}

function usageActions({ ledger, clock }: ActionParts) {
  function filterOf(input: unknown) {
    const { account, key, model, since, before, limit } = parseUsageQuery(input, clock());
    return { account, keyId: key, model, since, before, limit };
  }

  /** Nothing was spent, or nobody is called so: whoever looks for what a leaked key spent must not take the one for the other. */
  async function read(filter: UsageFilter): Promise<readonly UsageRecord[]> {
    const { account, keyId } = filter;
    const records = await ledger.usage(filter);
    if (records.length > 0) return records;
    const key = keyId === undefined ? undefined : await ledger.key(keyId);
    const isOthers = account !== undefined && key?.account !== account;
    if (keyId !== undefined && (key === undefined || isOthers)) throw new GatewayError("key_not_found");
    // A wallet need not have an account to pay.
    if (account === undefined || account.startsWith("wallet:")) return records;
    if ((await ledger.account(account)) === undefined) throw new GatewayError("account_not_found");
    return records;
  }

  return {
    /**
     * A page, newest first; `next_before` is the `before` of the next one, null at the end. `key_not_found`, `account_not_found`: nobody
     * of this id, or not on this account.
     */
    async usage(input: unknown): Promise<Answer> {
      const filter = filterOf(input);
      const limit = filter.limit ?? DEFAULT_PAGE;
      const records = await read({ ...filter, limit });
      const next = records.length < limit ? null : (records.at(-1)?.id ?? null);
      return { usage: records.map(usageView), next_before: next };
    },

    /** The same as CSV, all of it unless a limit is given. */
    usageCsv(input: unknown): AsyncGenerator<string> {
      return usageCsv(read, filterOf(input));
    },

    /** Recomputes balances, holds and key usage from the journal. */
    async check(): Promise<{ readonly ok: boolean; readonly discrepancies: readonly Answer[] }> {
      const found = await ledger.checkAccounts();
      return { ok: found.length === 0, discrepancies: found.map(discrepancyView) };
    },
  };
}

function providerKeyActions({ ledger, seal, providerKeyStatus, providers }: ActionParts) {
  const view = (record: ProviderKeyRecord) => providerKeyView(record, providerKeyStatus(record.masterKeyId));

  async function recordsOf(account: string) {
    if ((await ledger.account(account)) === undefined) throw new GatewayError("account_not_found");
    return ledger.providerKeys(account);
  }

  async function showProviderKey(account: string, provider: string): Promise<Answer> {
    const found = (await ledger.providerKeys(account)).find((record) => record.provider === provider);
    if (found === undefined) throw noProviderKey();
    return view(found);
  }

  return {
    showProviderKey,

    /** In the place of an earlier one. It is never shown again. */
    async setProviderKey(account: string, provider: string, input: unknown): Promise<Answer> {
      if (seal === undefined) {
        throw new GatewayError("invalid_request", {
          message: "provider keys need FAREBOX_MASTER_KEY, which is not set",
        });
      }
      if (!providers.includes(provider)) {
        throw new GatewayError("invalid_request", {
          message: `provider: is not one that takes own keys: ${providers.join(", ") || "there is none"}`,
        });
      }
      const { secret } = parse(providerKeyInput, input);
      const outcome = await ledger.setProviderKey(account, provider, seal(account, provider, secret));
      if (outcome === "not_found") throw new GatewayError("account_not_found");
      return showProviderKey(account, provider);
    },

    async listProviderKeys(account: string): Promise<Answer> {
      return { provider_keys: (await recordsOf(account)).map(view) };
    },

    /** Every account's, for a rotation of the master key. */
    async listAllProviderKeys(): Promise<Answer> {
      const found = [];
      for (const { id } of await ledger.accounts()) found.push(...(await ledger.providerKeys(id)));
      return { provider_keys: found.map(view) };
    },

    /** Calls go out on the managed key again. */
    async deleteProviderKey(account: string, provider: string): Promise<Answer> {
      await recordsOf(account);
      if (!(await ledger.deleteProviderKey(account, provider))) throw noProviderKey();
      return { account, provider, deleted: true };
    },
  };
}

/** The account has no key of this provider. */
export function noProviderKey(): GatewayError {
  return new GatewayError("not_found", { message: "The account has no key of this provider." });
}
