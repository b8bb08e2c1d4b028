import { createHmac } from "node:crypto";
import { lookup } from "node:dns";
import { isIP } from "node:net";
import { exchange } from "../../facilitator-client/http-exchange.ts";
import { Pool } from "../../facilitator-client/http-pool.ts";
import { createGuardedLookup, isPublicAddress, type Resolve } from "./public-address.ts";

/** `failed`: nobody has it for certain; `reason` is a word for logs. */
export type Delivery = { readonly kind: "delivered" } | { readonly kind: "failed"; readonly reason: string };

export interface Webhook {
  /**
   * POSTs one event, signed. Delivered is an answer of 2xx within the time limit; redirects are not followed. Never rejects.
   * `eventId` is the same at every try, so that the receiver can tell repeats.
   */
  send(eventId: string, body: string, signal: AbortSignal): Promise<Delivery>;
  close(): Promise<void>;
}

export interface WebhookOptions {
  readonly url: string;
  /** Of the HMAC. */
  readonly secret: string;
  /** Allow addresses that are not of the public internet. */
  readonly allowPrivate: boolean;
  /** From the call to the last byte of the answer, ms. */
  readonly timeoutMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly resolve?: Resolve;
  readonly isPublic?: (address: string) => boolean;
}

const MAX_CONNECTIONS = 8;
/** Nobody reads the answer; a longer one is no confirmation. */
const MAX_ANSWER_BYTES = 65_536;

/** A receiver of events over kept-alive connections. Throws a TypeError here, at creation, if the URL is none. */
export function createWebhook(options: WebhookOptions): Webhook {
  const { secret, timeoutMs, now, isPublic = isPublicAddress } = options;
  const url = new URL(options.url);
  const isAllowed = options.allowPrivate ? () => true : isPublic;
  const pool = new Pool(url.origin, {
    connections: MAX_CONNECTIONS,
    pipelining: 1,
    connect: { timeout: timeoutMs, lookup: createGuardedLookup(options.resolve ?? lookup, isAllowed) },
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const host = url.hostname.replace(/^\[|\]$/g, "");

  return {
    async send(eventId, body, signal) {
      if (isIP(host) !== 0 && !isAllowed(host)) return { kind: "failed", reason: "ADDRESS_NOT_ALLOWED" };
      const result = await exchange(pool, {
        method: "POST",
        path: `${url.pathname}${url.search}`,
        headers: [
          ...["content-type", "application/json", "user-agent", "farebox"],
          ...["farebox-event-id", eventId],
          ...["farebox-signature", signature(secret, body, now())],
        ],
        body: Buffer.from(body),
        timeoutMs,
        maxBytes: MAX_ANSWER_BYTES,
        signal,
      });
      if (result.kind === "failed") return { kind: "failed", reason: result.reason };
      if (result.status >= 200 && result.status < 300) return { kind: "delivered" };
      return { kind: "failed", reason: `status_${result.status}` };
    },
    close: () => pool.destroy(),
  };
}

/** `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>`. The time lets the receiver refuse what is old. */
function signature(secret: string, body: string, nowMs: number): string {
  const seconds = Math.floor(nowMs / 1_000);
  return `t=${seconds},v1=${createHmac("sha256", secret).update(`${seconds}.${body}`).digest("hex")}`;
}
