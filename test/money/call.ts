import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, type MockInstance, vi } from "vitest";
import type { PaymentRecord } from "../../server/ledger/ledger.ts";
import { paymentId } from "../support/buyer.ts";
import type { Shop } from "../support/shop.ts";

export type Payment = Record<string, string>;

/** A connection on which a test writes exact bytes. */
export interface Line {
  readonly socket: Socket;
  /** What has come so far. */
  text(): string;
  /** Resolves once this has come. */
  says(words: string): Promise<void>;
  readonly closed: Promise<unknown>;
}

export function openLine(shop: Shop): Line {
  const socket = connect(Number(new URL(shop.url).port), "127.0.0.1");
  let got = "";
  socket.on("data", (chunk) => {
    got += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  return {
    socket,
    text: () => got,
    says: async (words) => {
      while (!got.includes(words)) await once(socket, "data");
    },
    closed: once(socket, "close"),
  };
}

/** The bytes of a paid request. */
export function requestOf(path: string, init: RequestInit, payment: Payment): string {
  const body = String(init.body ?? "");
  const headers = { host: "shop.test", ...(init.headers as Payment), ...payment };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${init.method ?? "GET"} ${path} HTTP/1.1\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines.join("")}\r\n${body}`;
}

/** A paid call whose client may leave. */
export function startCall(
  url: string,
  init: RequestInit,
  payment: Payment,
): { readonly answer: Promise<Response>; leave(): void } {
  const leaving = new AbortController();
  const headers = { ...(init.headers as Payment), ...payment };
  const answer = fetch(url, { ...init, headers, signal: leaving.signal });
  answer.catch(() => undefined);
  return { answer, leave: () => leaving.abort() };
}

export function recordOf(shop: Shop, payment: Payment): Promise<PaymentRecord | undefined> {
  return shop.gateway.ledger.payment(paymentId(payment));
}

/** Waits until the ledger, which is written behind the answer, says this of a payment. */
export async function becomes(shop: Shop, payment: Payment, wanted: Partial<PaymentRecord>): Promise<void> {
  await expect
    .poll(() => recordOf(shop, payment), { interval: 5, timeout: 8_000 })
    .toEqual(expect.objectContaining(wanted));
}

export function credit(shop: Shop, payer: string): Promise<bigint> {
  return shop.gateway.ledger.balance(`wallet:${payer}`);
}

/** Counts the clients that were seen to leave after settling began. */
export function watchOrphans(shop: Shop): { seen(count: number): Promise<void> } {
  const spy: MockInstance = vi.spyOn(shop.gateway.ledger, "orphan");
  return {
    seen: async (count) => {
      await vi.waitUntil(() => spy.mock.settledResults.length >= count, { interval: 5, timeout: 5_000 });
    },
  };
}

/** Lets the facilitator settle a v1 payment for somebody else, as a shop with the same payTo would. */
export async function settleElsewhere(
  shop: Shop,
  url: string,
  init: RequestInit,
  payment: Payment,
): Promise<unknown> {
  const [header = ""] = Object.values(payment);
  const paymentPayload = JSON.parse(Buffer.from(header, "base64").toString("utf8"));
  const unpaid = (await (await fetch(url, init)).json()) as { accepts: { extra: Record<string, unknown> }[] };
  const [paymentRequirements] = unpaid.accepts;
  delete paymentRequirements?.extra["memo"];
  const answer = await fetch(`${shop.localnet.facilitatorUrl}/settle`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ x402Version: 1, paymentPayload, paymentRequirements }),
  });
  return answer.json();
}
