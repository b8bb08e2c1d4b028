import type { AccountAlertLedger, DueAccountAlert } from "../ledger/account-alerts.ts";
import type { ProviderKeyBox } from "../provider-keys.ts";
import { openWebhookSecret, type SendToAccount } from "./account-webhook.ts";
import { eventBody } from "./event-body.ts";
import { createRounds, type Rounds } from "./rounds.ts";

export interface AccountAlertDeliveryOptions {
  readonly ledger: Pick<AccountAlertLedger, "takeAccountAlerts" | "endAccountAlert" | "postponeAccountAlert">;
  readonly box: ProviderKeyBox;
  readonly send: SendToAccount;
  /** The ledger failed. */
  readonly onFault: (error: unknown) => void;
  /** The webhook's secret cannot be opened under our master keys: nothing that its account could have done wrong. */
  readonly onUnusable: (account: string) => void;
  readonly everyMs?: number;
}

const EVERY_MS = 10_000;
/** Longer than a try can take. */
const LEASE_MS = 30_000;
/** One of each account; a dead receiver takes its place for as long as a try may take. */
const AT_ONCE = 32;
const FIRST_DELAY_MS = 5_000;
const DELAY_FACTOR = 4;
/** After 5 s, 20 s, 80 s, 320 s; then it is given up. */
const MAX_TRIES = 5;

function delayAfter(attempt: number): number {
  return FIRST_DELAY_MS * DELAY_FACTOR ** (attempt - 1);
}

/** Tells accounts' own webhooks of what they asked for, at least once, under one id at every try. */
export function createAccountAlertDelivery(options: AccountAlertDeliveryOptions): Rounds {
  const { ledger, box, send, onFault, onUnusable, everyMs = EVERY_MS } = options;

  async function tell(alert: DueAccountAlert, signal: AbortSignal): Promise<void> {
    const { account, webhook, attempt } = alert;
    const secret = openWebhookSecret(box, account, webhook);
    if (secret === undefined) {
      // Kept, however long: another gateway may have the key already, or we again once a slip is put right. Given up, three of
      // them would suspend the webhook.
      onUnusable(account);
      return ledger.postponeAccountAlert(alert.id, delayAfter(Math.min(attempt, MAX_TRIES)));
    }
    const id = `account_alert_${alert.id}`;
    const result = await send({ url: webhook.url, secret }, { id, body: eventBody(id, alert) }, signal);
    if (result.kind === "delivered") return ledger.endAccountAlert(alert.id, "delivered");
    if (signal.aborted) return ledger.postponeAccountAlert(alert.id, FIRST_DELAY_MS);
    if (attempt >= MAX_TRIES) return ledger.endAccountAlert(alert.id, "failed");
    return ledger.postponeAccountAlert(alert.id, delayAfter(attempt));
  }

  const take = (limit: number) => ledger.takeAccountAlerts(limit, LEASE_MS);
  return createRounds({ take, tell, onFault, everyMs, atOnce: AT_ONCE });
}
