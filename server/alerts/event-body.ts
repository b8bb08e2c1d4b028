import type { Alert } from "../ledger/account-ledger.ts";
import { formatUsd } from "../money.ts";

/** What a receiver reads of an alert: amounts in dollars as exact decimal strings. The same bytes at every try. */
export function eventBody(id: string, alert: Omit<Alert, "id" | "attempt">): string {
  return JSON.stringify({
    id,
    kind: alert.kind,
    account: alert.account,
    key: alert.keyId === undefined ? null : { id: alert.keyId, label: alert.keyLabel ?? "" },
    amount_usd: formatUsd(alert.amount),
    threshold_usd: formatUsd(alert.threshold),
    at: new Date(alert.at).toISOString(),
  });
}
