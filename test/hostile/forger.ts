import { generateKeyPairSigner } from "@solana/kit";
import { decodePaymentRequiredHeader } from "@x402/core/http";
import type { PaymentPayload, PaymentRequired, PaymentRequirements } from "@x402/core/types";
import { x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";

/** The official client in dishonest hands: it signs whatever challenge it is shown. */
export interface Forger {
  readonly address: string;
  /** The v2 challenge of a call. */
  challenge(url: string, init?: RequestInit): Promise<PaymentRequired>;
  sign(required: PaymentRequired): Promise<PaymentPayload>;
}

export async function createForger(rpcUrl: string): Promise<Forger> {
  const signer = await generateKeyPairSigner();
  const client = x402Client
    .fromConfig({ schemes: [], spendControls: false })
    .register("solana:*", new ExactSvmScheme(signer, { rpcUrl }));
  return {
    address: signer.address,
    async challenge(url, init) {
      const response = await fetch(url, init);
      await response.arrayBuffer();
      return decodePaymentRequiredHeader(response.headers.get("payment-required") ?? "");
    },
    sign: async (required) => {
      const { x402Version, payload, accepted, resource, extensions } =
        await client.createPaymentPayload(required);
      return { x402Version, payload, accepted, resource, extensions } as PaymentPayload;
    },
  };
}

/** A challenge whose terms were changed before it is signed: the payment is consistent, but not what is asked. */
export function withTerms(
  required: PaymentRequired,
  change: Partial<PaymentRequirements>,
  extra: Record<string, unknown> = {},
): PaymentRequired {
  const [offer] = required.accepts;
  if (offer === undefined) throw new Error("no offer");
  return { ...required, accepts: [{ ...offer, ...change, extra: { ...offer.extra, ...extra } }] };
}

/** A payment whose terms were changed after it was signed. */
export function withAccepted(
  payment: PaymentPayload,
  change: Partial<PaymentRequirements>,
  extra: Record<string, unknown> = {},
): PaymentPayload {
  const { accepted } = payment;
  return { ...payment, accepted: { ...accepted, ...change, extra: { ...accepted.extra, ...extra } } };
}

/** The `PAYMENT-SIGNATURE` header of a payment. */
export function v2(payment: unknown): Record<string, string> {
  return { "PAYMENT-SIGNATURE": encode(payment) };
}

/** The transaction of a payment under protocol v1. */
export function v1(payment: PaymentPayload, network = "solana"): Record<string, string> {
  const { transaction } = payment.payload;
  return { "X-PAYMENT": encode({ x402Version: 1, scheme: "exact", network, payload: { transaction } }) };
}

export function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64");
}
