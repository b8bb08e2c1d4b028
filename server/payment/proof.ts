import type { OFFER_RECEIPT, SignedReceipt } from "@x402/extensions/offer-receipt";
import type { ReceiptFacts, Receipts } from "../receipts/receipts.ts";
import { encodePaymentResponse } from "./wire.ts";

/** A settled payment, as its proof names it. */
export type ProvenPayment = Omit<ReceiptFacts, "transaction"> & {
  /** Atomic units of the asset, which is what the protocol's amount is in. */
  readonly assetAmount: bigint;
};

/** The headers that prove a settlement: `PAYMENT-RESPONSE`, with a receipt where there are any, and its v1 name. Never rejects. */
export type Proof = (
  payment: ProvenPayment,
  transaction: string,
) => Promise<Readonly<Record<string, string>>>;

const EXTENSION: typeof OFFER_RECEIPT = "offer-receipt";

/** x402 extension offer-and-receipt §6.7. */
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  properties: {
    receipt: {
      type: "object",
      properties: { format: { type: "string", const: "jws" }, signature: { type: "string" } },
      required: ["format", "signature"],
    },
  },
  required: ["receipt"],
};

/** `receipts` undefined: none are given. The v1 header has none: nobody who reads it knows of them, and they are long. */
export function createProof(receipts: Receipts | undefined): Proof {
  return async (payment, transaction) => {
    const { network, payer } = payment;
    const amount = payment.assetAmount.toString();
    const plain = encodePaymentResponse({ success: true, transaction, network, payer, amount });
    const signature = await receipts?.issue({ transaction, ...payment });
    if (signature === undefined) return { "PAYMENT-RESPONSE": plain, "X-PAYMENT-RESPONSE": plain };
    const receipt: SignedReceipt = { format: "jws", signature };
    const extensions = { [EXTENSION]: { info: { receipt }, schema: SCHEMA } };
    return {
      "PAYMENT-RESPONSE": encodePaymentResponse({
        success: true,
        transaction,
        network,
        payer,
        amount,
        extensions,
      }),
      "X-PAYMENT-RESPONSE": plain,
    };
  };
}
