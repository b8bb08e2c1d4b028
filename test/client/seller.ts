import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { decodePaymentSignatureHeader, encodePaymentRequiredHeader } from "@x402/core/http";
import type { PaymentPayload, PaymentRequired, PaymentRequirements } from "@x402/core/types";
import { type Listening, listen } from "./listen.ts";
import { USDC } from "./stand-in-rpc.ts";

export const MAINNET = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

export const OPTION: PaymentRequirements = {
  scheme: "exact",
  network: MAINNET,
  asset: USDC,
  amount: "20000",
  payTo: "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
  maxTimeoutSeconds: 60,
  extra: { feePayer: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4", memo: "a-memo", token: "a-token" },
};

export const DECLARATION: PaymentRequired = {
  x402Version: 2,
  error: "Payment required",
  resource: { url: "http://127.0.0.1/agent", description: "Asks a model" },
  accepts: [OPTION],
};

export const RECEIPT = { success: true, transaction: "5hTransactionId", network: MAINNET, payer: "aPayer" };
export const RECEIPT_HEADER = Buffer.from(JSON.stringify(RECEIPT)).toString("base64");

/** A request as the seller saw it. */
interface Seen {
  readonly method: string | undefined;
  readonly payment: string | undefined;
  readonly contentType: string | undefined;
  readonly body: string;
}

export type Step = (req: IncomingMessage, res: ServerResponse) => void | Promise<void>;

export interface Seller extends Listening {
  readonly seen: Seen[];
  /** The `PAYMENT-SIGNATURE` of each paid request, in order. */
  payments(): string[];
}

/**
 * An x402 v2 seller: an unpaid request gets the 402 of `declaration`, each paid one the next step of the script
 * (the last one is repeated).
 */
export async function startSeller(
  script: readonly Step[],
  declaration: PaymentRequired = DECLARATION,
): Promise<Seller> {
  const seen: Seen[] = [];
  let next = 0;
  const server = createServer(async (req, res) => {
    const payment = req.headers["payment-signature"]?.toString();
    seen.push({
      method: req.method,
      payment,
      contentType: req.headers["content-type"],
      body: await text(req),
    });
    if (payment === undefined) {
      res.writeHead(402, { "payment-required": encodePaymentRequiredHeader(declaration) }).end("{}");
      return;
    }
    const step = script[Math.min(next, script.length - 1)];
    next += 1;
    await step?.(req, res);
  });
  const payments = () => seen.flatMap(({ payment }) => payment ?? []);
  return { ...(await listen(server)), seen, payments };
}

export function decode(header: string | undefined): PaymentPayload {
  return decodePaymentSignatureHeader(header ?? "");
}

/** An answer that comes with a receipt. */
export function serve(body: string): Step {
  return (_req, res) => void res.writeHead(200, { "payment-response": RECEIPT_HEADER }).end(body);
}

export function fail(status: number, code: string, retryAfter?: string): Step {
  const headers = retryAfter === undefined ? {} : { "retry-after": retryAfter };
  return (_req, res) => void res.writeHead(status, headers).end(JSON.stringify({ error: { code } }));
}

/** Takes the request and cuts the connection without an answer. */
export const drop: Step = (req) => void req.socket.destroy();
