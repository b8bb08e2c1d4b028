import { randomUUID } from "node:crypto";
import type { Answer } from "../admin/action-parts.ts";
import { alertSettingsInput, parse } from "../admin/inputs.ts";
import { accountAlertView, money } from "../admin/views.ts";
import {
  accountWebhookUrl,
  newWebhookSecret,
  openWebhookSecret,
  type SendToAccount,
  sealWebhookSecret,
} from "../alerts/account-webhook.ts";
import type { FloodGuard } from "../auth/flood.ts";
import { GatewayError } from "../errors.ts";
import {
  type AccountWebhook,
  type AlertSettings,
  type AlertWishes,
  MAX_FAILURES,
} from "../ledger/account-alerts.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ProviderKeyBox } from "../provider-keys.ts";
import { accountOf } from "./own-account.ts";

export interface OwnAlertsParts {
  readonly ledger: Ledger;
  /** Undefined: no secret can be kept, hence no webhook. */
  readonly box: ProviderKeyBox | undefined;
  /** See {@link accountWebhookUrl}. */
  readonly isLocal: boolean;
  readonly send: SendToAccount;
  /** Counts tests by client address: whoever has many wallets must not make us call others. */
  readonly tests: FloodGuard;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

export type OwnAlerts = ReturnType<typeof createOwnAlerts>;

/** Tests of one client address in a minute. */
export const TESTS_A_MINUTE = 10;
const TEST_EVERY_MS = 60_000;
const TESTS_AT_ONCE = 16;
const OFF: AlertSettings = {
  lowBalance: undefined,
  keyLimit80: false,
  keyLimit100: false,
  webhook: undefined,
};

/** What a wallet's own account wants to be told, and where. Everything that makes us send is bounded (account-alerts.ts). */
export function createOwnAlerts(parts: OwnAlertsParts) {
  const { ledger, box } = parts;
  const input = alertSettingsInput(accountWebhookUrl(parts.isLocal));
  const test = createTest(parts);

  /** A box that can seal. */
  function sealing(): ProviderKeyBox {
    if (box !== undefined) return box;
    const message = "webhooks need FAREBOX_MASTER_KEY, which is not set";
    throw new GatewayError("invalid_request", { message });
  }

  async function store(
    account: string,
    wishes: AlertWishes,
    webhook: AccountWebhook | "keep" | "none",
  ): Promise<void> {
    if ((await ledger.setAlertSettings(account, wishes, webhook)) === "stored") return;
    await ledger.createAccount(account, "");
    await ledger.setAlertSettings(account, wishes, webhook);
  }

  async function show(account: string, secret?: string): Promise<Answer> {
    return settingsView((await ledger.alertSettings(account)) ?? OFF, account, box, secret);
  }

  return {
    alerts: (wallet: string) => show(accountOf(wallet)),

    /** Replaces the thresholds. A webhook that is not named stays; one at another URL has a secret of its own, shown this once. */
    async setAlerts(wallet: string, body: unknown): Promise<Answer> {
      const account = accountOf(wallet);
      const given = parse(input, body);
      const wishes = {
        lowBalance: given.low_balance ?? undefined,
        keyLimit80: given.key_limit_80,
        keyLimit100: given.key_limit_100,
      };
      const url = given.webhook?.url;
      const stays = url === undefined || url === (await ledger.alertSettings(account))?.webhook?.url;
      if (stays) {
        await store(account, wishes, given.webhook === null ? "none" : "keep");
        return show(account);
      }
      const secret = newWebhookSecret();
      await store(account, wishes, { url, ...sealWebhookSecret(sealing(), account, secret) });
      return show(account, secret);
    },

    async deleteAlerts(wallet: string): Promise<Answer> {
      await ledger.deleteAlertSettings(accountOf(wallet));
      return { account: accountOf(wallet), deleted: true };
    },

    /** A new secret, shown this once; the one before signs nothing more. */
    async rotateAlertSecret(wallet: string): Promise<Answer> {
      const account = accountOf(wallet);
      const secret = newWebhookSecret();
      const sealed = sealWebhookSecret(sealing(), account, secret);
      if (!(await ledger.replaceAlertSecret(account, sealed))) throw noWebhook();
      return show(account, secret);
    },

    /** What was recorded, newest first; without pages, for it is never much. */
    async recentAlerts(wallet: string): Promise<Answer> {
      return { alerts: (await ledger.accountAlerts(accountOf(wallet))).map(accountAlertView) };
    },

    /** Sends an event of the kind `test` now, which makes a suspended webhook active again if it arrives; `from` is the client's address. */
    testAlerts: test,
  };
}

function createTest({ ledger, box, send, tests, clock }: OwnAlertsParts) {
  let running = 0;

  /** One a minute for each wallet, on whichever gateway. */
  async function admit(wallet: string, from: string): Promise<void> {
    const blockedMs = tests.blockedForMs(from);
    if (blockedMs > 0) throw tooMany(blockedMs);
    tests.punish(from);
    if (running >= TESTS_AT_ONCE) throw tooMany(TEST_EVERY_MS);
    if ((await ledger.useOnce(wallet, "test of alerts", TEST_EVERY_MS)) === "again") {
      throw tooMany(TEST_EVERY_MS);
    }
  }

  return async (wallet: string, from: string): Promise<Answer> => {
    const account = accountOf(wallet);
    const webhook = (await ledger.alertSettings(account))?.webhook;
    if (webhook === undefined) throw noWebhook();
    await admit(wallet, from);
    const secret = box && openWebhookSecret(box, account, webhook);
    if (secret === undefined) return { delivered: false, result: "unusable" };
    const id = `test_${randomUUID()}`;
    const body = { id, kind: "test", account, key: null, amount_usd: null, threshold_usd: null };
    const event = { id, body: JSON.stringify({ ...body, at: new Date(clock()).toISOString() }) };
    running += 1;
    try {
      const sent = await send({ url: webhook.url, secret }, event, new AbortController().signal);
      if (sent.kind === "failed") return { delivered: false, result: resultOf(sent.reason) };
      await ledger.resumeAlerts(account);
      return { delivered: true, result: "delivered" };
    } finally {
      running -= 1;
    }
  };
}

/** No more than the owner needs: the rest would tell strangers about hosts and networks. */
function resultOf(reason: string): string {
  if (/^status_\d+$/.test(reason) || reason === "timeout") return reason;
  return reason.endsWith("ADDRESS_NOT_ALLOWED") ? "address_not_allowed" : "unreachable";
}

function tooMany(waitMs: number): GatewayError {
  return new GatewayError("rate_limit_exceeded", { retryAfterSeconds: Math.ceil(waitMs / 1_000) });
}

function noWebhook(): GatewayError {
  return new GatewayError("not_found", { message: "The account has no webhook." });
}

function settingsView(
  { lowBalance, keyLimit80, keyLimit100, webhook }: AlertSettings,
  account: string,
  box: ProviderKeyBox | undefined,
  secret: string | undefined,
): Answer {
  return {
    ...money("low_balance", lowBalance),
    key_limit_80: keyLimit80,
    key_limit_100: keyLimit100,
    webhook: webhook === undefined ? null : { ...webhookView(webhook, account, box), ...shown(secret) },
  };
}

function webhookView(
  webhook: NonNullable<AlertSettings["webhook"]>,
  account: string,
  box: ProviderKeyBox | undefined,
): Answer {
  const isUsable = box !== undefined && openWebhookSecret(box, account, webhook) !== undefined;
  const status = !isUsable ? "unusable" : webhook.failures >= MAX_FAILURES ? "suspended" : "active";
  return { url: webhook.url, status, created_at: new Date(webhook.createdAt).toISOString() };
}

function shown(secret: string | undefined): Answer {
  return secret === undefined ? {} : { secret };
}
