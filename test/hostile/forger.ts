import { generateKeyPairSigner } from "@solana/kit";
import { decodePaymentRequiredHeader } from "@x402/core/http";
import type { PaymentPayload, PaymentRequired, PaymentRequirements } from "@x402/core/types";
import { x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";

/** JSON that a test may take apart. */
// biome-ignore lint/suspicious/noExplicitAny: filled in below
export type Json = { [key: string]: Json } & { [key: string]: never };

/** The official client in dishonest hands: it signs whatever 402 it is shown. */
export interface Forger {
  readonly address: string;
  /** The v2 challenge of a call. */
  challenge(url: string, init?: RequestInit): Promise<PaymentRequired>;
  /** Signs a challenge, altered or not. */
  sign(required: PaymentRequired): Promise<PaymentPayload>;
  /** Asks and signs; the header as the official client would send it. */
  header(url: string, init?: RequestInit): Promise<string>;
  /** The same through the official v1 client. */
  headerV1(url: string, init?: RequestInit): Promise<string>;
}
