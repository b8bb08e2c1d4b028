import { createHash } from "node:crypto";
import { generateKeyPairSigner, getTransactionDecoder, type KeyPairSigner } from "@solana/kit";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client, x402HTTPClient } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import type { Shop } from "./shop.ts";

/** An agent with a wallet: the official client, and a way to hold on to one payment and send it again. */
export interface Buyer {
  readonly address: string;
  readonly signer: KeyPairSigner;
  /** The official client's fetch: asks, pays, asks again. */
  readonly fetch: typeof fetch;
  /** The same, through the official v1 client. */
  readonly fetchV1: typeof fetch;
  /** Asks once and signs; the headers carry the payment and may be sent any number of times. */
  sign(
    url: string,
    init?: RequestInit,
    extensions?: (declared: Record<string, unknown>) => void,
  ): Promise<Record<string, string>>;
  signV1(url: string, init?: RequestInit): Promise<Record<string, string>>;
  /** Sends a request with these payment headers. */
  send(url: string, init: RequestInit | undefined, payment: Record<string, string>): Promise<Response>;
}

export async function createBuyer(shop: Pick<Shop, "localnet">, usdc = 5_000_000n): Promise<Buyer> {
  const signer = await generateKeyPairSigner();
  if (usdc > 0n) await shop.localnet.fund(signer.address, usdc);
  return buyerOf(signer, shop.localnet.rpcUrl, undefined);
}

/** One that pays in this mint and nothing else; it has as much of it as it likes, and no USDC. */
export async function createTokenBuyer(
  shop: Pick<Shop, "localnet">,
  mint: string,
  amount = 10n ** 15n,
): Promise<Buyer> {
  const signer = await generateKeyPairSigner();
  await shop.localnet.fund(signer.address, amount, mint);
  return buyerOf(signer, shop.localnet.rpcUrl, mint);
}

function buyerOf(signer: KeyPairSigner, rpcUrl: string, mint: string | undefined): Buyer {
  const client = clientFor(mint).register("solana:*", new ExactSvmScheme(signer, { rpcUrl }));
  const clientV1 = new x402Client().registerV1("solana", new ExactSvmSchemeV1(signer, { rpcUrl }));
  // A v1 client never looks at the v2 header.
  const bodyOnly: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.status !== 402) return response;
    const headers = new Headers(response.headers);
    headers.delete("payment-required");
    return new Response(await response.text(), { status: 402, headers });
  };
  async function signWith(
    which: x402Client,
    from: typeof fetch,
    url: string,
    init: RequestInit | undefined,
    extensions?: (declared: Record<string, unknown>) => void,
  ): Promise<Record<string, string>> {
    const http = new x402HTTPClient(which);
    const response = await from(url, init);
    const text = await response.text();
    if (response.status !== 402) throw new Error(`expected 402, got ${response.status}: ${text}`);
    const required = http.getPaymentRequiredResponse((name) => response.headers.get(name), JSON.parse(text));
    if (required.extensions !== undefined) extensions?.(required.extensions as Record<string, unknown>);
    const payload = await which.createPaymentPayload(required);
    return http.encodePaymentSignatureHeader(payload);
  }
  return {
    address: signer.address,
    signer,
    fetch: wrapFetchWithPayment(fetch, client),
    fetchV1: wrapFetchWithPayment(bodyOnly, clientV1),
    sign: (url, init, extensions) => signWith(client, fetch, url, init, extensions),
    signV1: (url, init) => signWith(clientV1, bodyOnly, url, init),
    send: (url, init, payment) =>
      fetch(url, { ...init, headers: { ...(init?.headers as Record<string, string>), ...payment } }),
  };
}

/** The official client takes no assets but its own unless it is told to. */
function clientFor(mint: string | undefined): x402Client {
  if (mint === undefined) return new x402Client();
  const client = new x402Client((_version, offers) => {
    const offer = offers.find(({ asset }) => asset === mint);
    if (offer === undefined) throw new Error(`the 402 does not offer ${mint}`);
    return offer;
  });
  return client.setSpendControls({ allowedAssets: true });
}

/** A JSON POST. */
export function post(body: unknown): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** What `PAYMENT-RESPONSE` says. */
export function proofOf(response: Response): ReturnType<typeof decodePaymentResponseHeader> {
  const header = response.headers.get("payment-response");
  if (header === null) throw new Error(`no PAYMENT-RESPONSE on ${response.status}`);
  return decodePaymentResponseHeader(header);
}

/** What a 402's `PAYMENT-REQUIRED` header says. */
export function termsOf(response: Response): {
  readonly error: string;
  readonly accepts: readonly Record<string, unknown>[];
  readonly extensions: Record<string, unknown>;
} {
  const header = response.headers.get("payment-required");
  if (header === null) throw new Error(`no PAYMENT-REQUIRED on ${response.status}`);
  return JSON.parse(Buffer.from(header, "base64").toString("utf8"));
}

/** The decoded payment of {@link Buyer.sign} or {@link Buyer.signV1}. */
export function payloadOf(payment: Record<string, string>): {
  readonly accepted: { readonly extra: Record<string, string> };
  readonly payload: { readonly transaction: string };
} {
  const [value = ""] = Object.values(payment);
  return JSON.parse(Buffer.from(value, "base64").toString("utf8"));
}

/** By which the ledger knows it: the SHA-256 of the signed message. */
export function paymentId(payment: Record<string, string>): string {
  const wire = Buffer.from(payloadOf(payment).payload.transaction, "base64");
  const { messageBytes } = getTransactionDecoder().decode(wire);
  return createHash("sha256").update(Uint8Array.from(messageBytes)).digest("hex");
}
