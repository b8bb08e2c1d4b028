import type { AlertsConfig } from "../config.ts";
import type { AccountLedger, Alert } from "../ledger/account-ledger.ts";
import { formatUsd } from "../money.ts";
import { createWebhook, type WebhookOptions } from "./webhook.ts";

/** Tells the operator's webhook of thresholds that were crossed. */
export interface AlertDelivery {
  /** Looks for alerts that are due, now and again and again. */
  start(): void;
  /** One round; shared with one that runs. Resolves when each alert it took was told, put off or given up. Never rejects. */
  runOnce(): Promise<void>;
  /** Breaks off what is being sent; another gateway, or the next start, sends it again. */
  close(): Promise<void>;
}

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
const BATCH = 8;
/** Longer than a try can take: a second gateway must not send what the first is sending. */
const LEASE_AFTER_TIMEOUT_MS = 20_000;
const MAX_TRIES = 10;
const FIRST_DELAY_MS = 5_000;
const LONGEST_DELAY_MS = 3_600_000;
/** 5 s, 15 s, 45 s, … 1 h: the ten tries span some three and a half hours. */
const DELAY_FACTOR = 3;

/**
 * At least once: a crash between the receiver's answer and our note of it sends an event again, under the same id.
 * Undefined without a webhook; alerts then stay in the ledger.
 */
export function createAlertDelivery(options: AlertDeliveryOptions): AlertDelivery | undefined {
  const { ledger, onFailed, onFault, now = Date.now, everyMs = EVERY_MS, timeoutMs = TIMEOUT_MS } = options;
  const { webhookUrl: url, webhookSecret: secret, allowPrivate } = options.config;
  if (url === undefined || secret === undefined) return undefined;
  const webhook = createWebhook({ url, secret, allowPrivate, timeoutMs, now, ...options.network });
  const closing = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;

  async function tell(alert: Alert): Promise<void> {
    const result = await webhook.send(`alert_${alert.id}`, bodyOf(alert), closing.signal);
    if (result.kind === "delivered") return ledger.endAlert(alert.id);
    if (closing.signal.aborted) return ledger.postponeAlert(alert.id, FIRST_DELAY_MS);
    const givenUp = alert.attempt >= MAX_TRIES;
    onFailed(alert, result.reason, givenUp);
    return givenUp ? ledger.endAlert(alert.id) : ledger.postponeAlert(alert.id, delayAfter(alert.attempt));
  }

  async function round(): Promise<void> {
    try {
      for (let taken = BATCH; taken === BATCH && !closing.signal.aborted; ) {
        const alerts = await ledger.takeAlerts(BATCH, timeoutMs + LEASE_AFTER_TIMEOUT_MS);
        await Promise.all(alerts.map((alert) => tell(alert).catch(onFault)));
        taken = alerts.length;
      }
    } catch (error) {
      onFault(error);
    }
  }

  function runOnce(): Promise<void> {
    running ??= round().finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    runOnce,
    start() {
      void runOnce();
      timer = setInterval(() => void runOnce(), everyMs).unref();
    },
    async close() {
      clearInterval(timer);
      closing.abort();
      await running;
      await webhook.close();
    },
  };
}

/** What the receiver reads: amounts in dollars as exact decimal strings. The same bytes at every try. */
function bodyOf(alert: Alert): string {
  return JSON.stringify({
    id: `alert_${alert.id}`,
    kind: alert.kind,
    account: alert.account,
    key: alert.keyId === undefined ? null : { id: alert.keyId, label: alert.keyLabel ?? "" },
    amount_usd: formatUsd(alert.amount),
    threshold_usd: formatUsd(alert.threshold),
    at: new Date(alert.at).toISOString(),
  });
}

function delayAfter(attempt: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * DELAY_FACTOR ** (attempt - 1));
}
