import { randomBytes } from "node:crypto";
import type { PaymentPayload, PaymentRequirements } from "@x402/core/types";
import { decodePaymentHeader } from "../../server/payment/wire.ts";

export const options = { v1: true, maxBytes: 12_288 };
export const transaction = randomBytes(400).toString("base64");
export const accepted: PaymentRequirements = {
  scheme: "exact",
  network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
  amount: "20000",
  asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
  payTo: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
  maxTimeoutSeconds: 60,
  extra: { feePayer: "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd", token: "the token", memo: "the memo" },
};
export const payload: PaymentPayload = {
  x402Version: 2,
  resource: { url: "https://example.com/agent", description: "An agent", mimeType: "application/json" },
  accepted,
  payload: { transaction },
  extensions: { bazaar: { info: { input: { a: [1, 2.5, null, true] } }, schema: {} } },
};
export const payloadV1 = { x402Version: 1, scheme: "exact", network: "solana", payload: { transaction } };

export const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64");
export const encodeText = (text: string) => Buffer.from(text).toString("base64");
export const decodeV2 = (header: string) => decodePaymentHeader({ "payment-signature": header }, options);
export const decodeV1 = (header: string) => decodePaymentHeader({ "x-payment": header }, options);
export const malformed = (reason: string) => ({ kind: "malformed", reason });
