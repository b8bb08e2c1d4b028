import type { AccountAlert } from "../ledger/account-alerts.ts";
import type {
  AccountRecord,
  Discrepancy,
  JournalEntry,
  KeyRecord,
  ProviderKeyRecord,
} from "../ledger/account-ledger.ts";
import type { UsageRecord } from "../ledger/call-ledger.ts";
import type { PaymentRecord } from "../ledger/ledger.ts";
import { formatUsd, type MicroUsd } from "../money.ts";
import type { ProviderKeyStatus } from "../provider-keys.ts";

/**
 * Records as JSON. An amount is there twice, both times as an exact string: dollars under `*_usd`, whole micro-dollars
 * under `*_micro_usd`. Times are ISO 8601 in UTC. What is not set is null.
 */
type View = Readonly<Record<string, unknown>>;

/** An account with its balance. */
export function accountView({ id, name, balance, held, createdAt }: AccountRecord): View {
  return {
    id,
    name,
    ...money("balance", balance),
    ...money("held", held),
    ...money("available", balance - held),
    created_at: iso(createdAt),
  };
}

/** A key; of its secret only the ends. */
export function keyView(key: KeyRecord): View {
  return {
    id: key.id,
    account: key.account,
    label: key.label,
    prefix: key.prefix,
    last4: key.last4,
    status: key.status,
    permissions: key.permissions,
    models: key.models ?? null,
    providers: key.providers ?? null,
    ...money("limit", key.limit),
    limit_reset: key.limitReset,
    limit_resets_at: iso(key.limitResetsAt),
    ...money("limit_remaining", key.limitRemaining),
    ...money("usage", key.usage),
    ...money("spent", key.spent),
    ...money("held", key.held),
    rpm: key.rpm ?? null,
    concurrency: key.concurrency ?? null,
    expires_at: iso(key.expiresAt),
    created_at: iso(key.createdAt),
    last_used_at: iso(key.lastUsedAt),
  };
}

/** One call, with what it cost and why it cost nothing. */
export function usageView(record: UsageRecord): View {
  return {
    id: record.id,
    at: iso(record.at),
    tier: record.tier,
    account: record.account ?? null,
    key_id: record.keyId ?? null,
    key_label: record.keyLabel ?? null,
    payer: record.payer ?? null,
    route: record.route,
    model: record.model ?? null,
    provider: record.provider ?? null,
    prompt_tokens: record.promptTokens ?? null,
    completion_tokens: record.completionTokens ?? null,
    estimated: record.estimated,
    ...money("held", record.held),
    ...money("charged", record.charged),
    ...money("upstream_cost", record.upstreamCost),
    status: record.status ?? null,
    upstream_status: record.upstreamStatus ?? null,
    ms: record.ms,
    transaction: record.transaction ?? null,
    not_charged: record.notCharged ?? null,
  };
}

/** A customer's own provider key; of it only the last four characters. */
export function providerKeyView(
  { account, provider, last4, createdAt }: ProviderKeyRecord,
  status: ProviderKeyStatus,
): View {
  return { account, provider, last4, status, created_at: iso(createdAt) };
}

/** A change of a balance. The last four are there where a payment on the chain is behind it. */
export function journalView(
  { account, reference, kind, amount, balance, at }: JournalEntry,
  payment: string | undefined,
  record: Pick<PaymentRecord, "transaction" | "asset" | "assetAmount"> | undefined,
): View {
  return {
    account,
    at: iso(at),
    kind,
    reference,
    ...money("amount", amount),
    ...money("balance", balance),
    payment: payment ?? null,
    transaction: record?.transaction ?? null,
    asset: record?.asset ?? null,
    asset_amount: record?.assetAmount.toString() ?? null,
  };
}

/** A payment by wallet that credited an account; the record is gone once it was exported and trimmed. */
export function topUpView(
  { reference, amount, at }: JournalEntry,
  record: PaymentRecord | undefined,
  { kind, receipt }: { readonly kind: string; readonly receipt: string | undefined },
): View {
  return {
    payment: reference.slice("payment:".length),
    at: iso(at),
    kind,
    ...money("amount", amount),
    asset: record?.asset ?? null,
    transaction: record?.transaction ?? null,
    receipt: receipt ?? null,
  };
}

/** A threshold that an account asked to be told of, and what became of telling it. */
export function accountAlertView(alert: AccountAlert): View {
  const { id, kind, keyId, keyLabel, amount, threshold, at, delivery } = alert;
  return {
    id: `account_alert_${id}`,
    kind,
    key: keyId === undefined ? null : { id: keyId, label: keyLabel ?? "" },
    ...money("amount", amount),
    ...money("threshold", threshold),
    at: iso(at),
    delivery,
  };
}

/** What does not add up. */
export function discrepancyView({ account, keyId, problem, recorded, computed }: Discrepancy): View {
  return {
    account,
    key_id: keyId ?? null,
    problem,
    ...money("recorded", recorded),
    ...money("computed", computed),
  };
}

/** `{name}_usd` and `{name}_micro_usd`. */
export function money(name: string, amount: MicroUsd | undefined): View {
  return {
    [`${name}_usd`]: amount === undefined ? null : formatUsd(amount),
    [`${name}_micro_usd`]: amount === undefined ? null : amount.toString(),
  };
}

/** ISO 8601 in UTC; null where there is no time. */
export function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
