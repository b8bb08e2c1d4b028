import type { AlertsConfig } from "../config.ts";
import type { AccountLedger, Alert } from "../ledger/account-ledger.ts";
import { eventBody } from "./event-body.ts";
import { createRounds, type Rounds } from "./rounds.ts";
import { createWebhook, type WebhookOptions } from "./webhook.ts";

export interface AlertDeliveryOptions {
  readonly ledger: Pick<AccountLedger, "takeAlerts" | "endAlert" | "postponeAlert">;
  readonly config: AlertsConfig;
  /** One try failed; `givenUp`: it was the last one. `reason` is a word. */
  readonly onFailed: (alert: Alert, reason: string, givenUp: boolean) => void;
  /** The ledger failed. */
  readonly onFault: (error: unknown) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly everyMs?: number;
  readonly timeoutMs?: number;
  /** How the webhook's host is resolved and judged. */
  readonly network?: Pick<WebhookOptions, "resolve" | "isPublic">;
}

const EVERY_MS = 5_000;
const TIMEOUT_MS = 10_000;
/** Longer than a try can take: a second gateway must not send what the first is sending. */
const LEASE_AFTER_TIMEOUT_MS = 20_000;
const AT_ONCE = 8;
const MAX_TRIES = 10;
const FIRST_DELAY_MS = 5_000;
const LONGEST_DELAY_MS = 3_600_000;
/** 5 s, 15 s, 45 s, … 1 h: the ten tries span some three and a half hours. */
const DELAY_FACTOR = 3;

/**
 * Tells the operator's webhook of thresholds that were crossed, at least once: a crash between the receiver's answer and our note of it
 * sends an event again, under the same id.
 * Undefined without a webhook; alerts then stay in the ledger.
 */
export function createAlertDelivery(options: AlertDeliveryOptions): Rounds | undefined {
  const { ledger, onFailed, onFault, now = Date.now, everyMs = EVERY_MS, timeoutMs = TIMEOUT_MS } = options;
  const { webhookUrl: url, webhookSecret: secret, allowPrivate } = options.config;
  if (url === undefined || secret === undefined) return undefined;
  const webhook = createWebhook({ url, secret, allowPrivate, timeoutMs, now, ...options.network });

  async function tell(alert: Alert, signal: AbortSignal): Promise<void> {
    const id = `alert_${alert.id}`;
    const result = await webhook.send(id, eventBody(id, alert), signal);
    if (result.kind === "delivered") return ledger.endAlert(alert.id);
    if (signal.aborted) return ledger.postponeAlert(alert.id, FIRST_DELAY_MS);
    const givenUp = alert.attempt >= MAX_TRIES;
    onFailed(alert, result.reason, givenUp);
    return givenUp ? ledger.endAlert(alert.id) : ledger.postponeAlert(alert.id, delayAfter(alert.attempt));
  }

  const take = (limit: number) => ledger.takeAlerts(limit, timeoutMs + LEASE_AFTER_TIMEOUT_MS);
  const rounds = createRounds({ take, tell, onFault, everyMs, atOnce: AT_ONCE });
  return {
    ...rounds,
    async close() {
      await rounds.close();
      await webhook.close();
    },
  };
}

function delayAfter(attempt: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * DELAY_FACTOR ** (attempt - 1));
}
