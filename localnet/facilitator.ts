import { createKeyPairSignerFromBytes, getBase64Encoder, getTransactionDecoder } from "@solana/kit";
import { x402Facilitator } from "@x402/core/facilitator";
import {
  PaymentPayloadV1Schema,
  PaymentPayloadV2Schema,
  PaymentRequirementsV1Schema,
  PaymentRequirementsV2Schema,
} from "@x402/core/schemas";
import type { Network, PaymentPayload, PaymentRequirements } from "@x402/core/types";
import { SettlementCache, SOLANA_MAINNET_CAIP2, toFacilitatorSvmSigner } from "@x402/svm";
import { ExactSvmScheme } from "@x402/svm/exact/facilitator";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/facilitator";
import { z } from "zod";
import type { HttpHandler, HttpReply } from "./http-server.ts";
import type { Wallet } from "./keys.ts";

/** Mainnet, as CAIP-2 names it. */
export const NETWORK = SOLANA_MAINNET_CAIP2;
const NETWORK_V1 = "solana";
const UNDECODABLE = "invalid_exact_svm_payload_transaction_could_not_be_decoded";

export interface FacilitatorOptions {
  /** Signs as fee payer. */
  readonly feePayer: Wallet;
  readonly rpcUrl: string;
  /** Answers `POST /faucet`. */
  readonly faucet: (body: string) => HttpReply;
}

interface Payment {
  readonly paymentPayload: PaymentPayload;
  readonly paymentRequirements: PaymentRequirements;
}

const transactionOf = z.object({ transaction: z.string() });

/** The official facilitator of the x402 packages, both protocol versions, as an HTTP handler. */
export async function createFacilitatorHandler(options: FacilitatorOptions): Promise<HttpHandler> {
  const facilitator = await createOfficialFacilitator(options);

  async function verify({ paymentPayload, paymentRequirements }: Payment): Promise<HttpReply> {
    if (!isDecodable(paymentPayload)) {
      return reply(200, { isValid: false, invalidReason: UNDECODABLE, payer: "" });
    }
    return reply(200, await facilitator.verify(paymentPayload, paymentRequirements));
  }

  async function settle({ paymentPayload, paymentRequirements }: Payment): Promise<HttpReply> {
    const { network } = paymentRequirements;
    if (!isDecodable(paymentPayload)) {
      return reply(200, { success: false, errorReason: UNDECODABLE, transaction: "", network, payer: "" });
    }
    return reply(200, await facilitator.settle(paymentPayload, paymentRequirements));
  }

  function withPayment(body: string, run: (payment: Payment) => Promise<HttpReply>) {
    const payment = parseJson(body);
    if (!isPayment(payment))
      return failure(400, "invalid_request", "Not an x402 payment and its requirements.");
    const { scheme, network } = payment.paymentRequirements;
    const offered = facilitator
      .getSupported()
      .kinds.some(
        (kind) =>
          kind.x402Version === payment.paymentPayload.x402Version &&
          kind.scheme === scheme &&
          kind.network === network,
      );
    if (!offered) return failure(400, "unsupported_kind", `No ${scheme} payments on ${network} here.`);
    return run(payment);
  }

  return ({ method, path, body }) => {
    switch (`${method} ${path}`) {
      case "GET /supported":
        return reply(200, facilitator.getSupported());
      case "POST /verify":
        return withPayment(body, verify);
      case "POST /settle":
        return withPayment(body, settle);
      case "POST /faucet":
        return options.faucet(body);
      default:
        return failure(404, "not_found", "GET /supported, POST /verify, /settle, /faucet");
    }
  };
}

async function createOfficialFacilitator(options: FacilitatorOptions): Promise<x402Facilitator> {
  const keypair = await createKeyPairSignerFromBytes(options.feePayer.bytes);
  const signer = toFacilitatorSvmSigner(keypair, { defaultRpcUrl: options.rpcUrl });
  // Shared, so that a payment under way in one protocol version is a duplicate in the other.
  const settlements = new SettlementCache();
  const facilitator = new x402Facilitator();
  facilitator.register(NETWORK, new ExactSvmScheme(signer, settlements));
  if (isNetwork(NETWORK_V1)) facilitator.registerV1(NETWORK_V1, new ExactSvmSchemeV1(signer, settlements));
  return facilitator;
}

/** The package's type knows only CAIP-2 names, though `registerV1` takes the names of v1. */
function isNetwork(name: string): name is Network {
  return name.length > 0;
}

/** The package's types know only v2; it tells v1 by the version inside and treats it so. */
function isPayment(value: unknown): value is Payment {
  return v2.safeParse(value).success || v1.safeParse(value).success;
}

const v2 = payments(PaymentPayloadV2Schema, PaymentRequirementsV2Schema);
const v1 = payments(PaymentPayloadV1Schema, PaymentRequirementsV1Schema);

interface Checker {
  safeParse(value: unknown): { readonly success: boolean };
}

function payments(payload: Checker, requirements: Checker) {
  return z.object({
    paymentPayload: z.custom((value) => payload.safeParse(value).success),
    paymentRequirements: z.custom((value) => requirements.safeParse(value).success),
  });
}

/** Asked first because the package writes a stack trace to the console for each transaction it cannot decode. */
function isDecodable(payment: PaymentPayload): boolean {
  const parsed = transactionOf.safeParse(payment.payload);
  if (!parsed.success) return false;
  try {
    getTransactionDecoder().decode(getBase64Encoder().encode(parsed.data.transaction));
    return true;
  } catch {
    return false;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reply(status: number, body: unknown): HttpReply {
  return { status, body };
}

function failure(status: number, code: string, message: string): HttpReply {
  return { status, body: { error: { code, message } } };
}
