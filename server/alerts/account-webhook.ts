import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import { refuse, text } from "../config-values.ts";
import type { AccountWebhook } from "../ledger/account-alerts.ts";
import type { ProviderKeyBox } from "../provider-keys.ts";
import { createNameServerResolve } from "./ask-name-server.ts";
import { isPublicAddress } from "./public-address.ts";
import { createWebhook, type Delivery, type WebhookOptions } from "./webhook.ts";

const MAX_URL = 500;
const TIMEOUT_MS = 5_000;
/** No upstream is called so: its name has no blanks. */
const SEALED_AS = "webhook of alerts";

/**
 * Where an account may be told: anybody can make an account, so https on its own port and the public internet alone. Names are judged
 * when connecting. In local mode, where nothing but this machine is served, plain http and private addresses too.
 */
export function accountWebhookUrl(isLocal: boolean) {
  return text("a URL").transform((value, ctx): string => {
    if (value.length > MAX_URL || !URL.canParse(value)) {
      return refuse(ctx, `write an https URL of at most ${MAX_URL} characters`);
    }
    const { protocol, username, password, hash, port, hostname, href } = new URL(value);
    const isHttp = isLocal && protocol === "http:";
    if (protocol !== "https:" && !isHttp) return refuse(ctx, "must be https");
    if (username !== "" || password !== "") return refuse(ctx, "must have no user name or password");
    if (hash !== "") return refuse(ctx, "must have no fragment");
    if (isLocal) return href;
    if (port !== "") return refuse(ctx, "must be on port 443");
    const host = hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) !== 0 && !isPublicAddress(host)) {
      return refuse(ctx, "must be at an address of the public internet");
    }
    return href;
  });
}

/** 256 random bits; the HMAC's key is all of the text. */
export function newWebhookSecret(): string {
  return `whsec_${randomBytes(32).toString("base64url")}`;
}

export function sealWebhookSecret(
  box: ProviderKeyBox,
  account: string,
  secret: string,
): Pick<AccountWebhook, "masterKeyId" | "sealed"> {
  const { masterKeyId, sealed } = box.seal(account, SEALED_AS, secret);
  return { masterKeyId, sealed };
}

/** Undefined: its master key is not configured any more, or it was altered. */
export function openWebhookSecret(
  box: ProviderKeyBox,
  account: string,
  { masterKeyId, sealed }: Pick<AccountWebhook, "masterKeyId" | "sealed">,
): string | undefined {
  return box.open(account, SEALED_AS, { masterKeyId, sealed, last4: "" });
}

/** POSTs one event to an account's webhook. Never rejects. */
export type SendToAccount = (
  to: { readonly url: string; readonly secret: string },
  event: { readonly id: string; readonly body: string },
  signal: AbortSignal,
) => Promise<Delivery>;

export interface AccountSenderOptions {
  readonly isLocal: boolean;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly timeoutMs?: number;
  /** How hosts are resolved and judged. */
  readonly network?: Pick<WebhookOptions, "resolve" | "isPublic"> | undefined;
}

/** A connection of its own for each event: accounts are many, and none may keep one open. */
export function createAccountSender(options: AccountSenderOptions): SendToAccount {
  const { isLocal, now, timeoutMs = TIMEOUT_MS } = options;
  const { network = isLocal ? {} : { resolve: createNameServerResolve({ timeoutMs: timeoutMs / 3 }) } } =
    options;
  return async ({ url, secret }, { id, body }, signal) => {
    const webhook = createWebhook({ url, secret, allowPrivate: isLocal, timeoutMs, now, ...network });
    try {
      return await webhook.send(id, body, signal);
    } finally {
      await webhook.close();
    }
  };
}
