import { randomUUID } from "node:crypto";
import type { TransactionSigner } from "@solana/kit";
import { type PaymentPayload, type PaymentRequired, x402Client, x402HTTPClient } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { PaymentError } from "./payment-error.ts";
import type { Terms } from "./terms.ts";

const PAYMENT_IDENTIFIER = "payment-identifier";

export interface SignerOptions {
  readonly wallet: TransactionSigner;
  /** Undefined: the network's public RPC. */
  readonly rpcUrl: string | undefined;
}

/** Signs the transfer that {@link Terms} ask for and returns it as request headers. */
export type SignPayment = (terms: Terms) => Promise<Readonly<Record<string, string>>>;

/**
 * The official client behind {@link SignPayment}. The spend control of that client is set to the very amount of the terms,
 * so that nothing larger than what the caller has seen can be signed.
 * `registerExactSvmScheme` is not used because it drops `rpcUrl`.
 */
export function createPaymentSigner({ wallet, rpcUrl }: SignerOptions): SignPayment {
  const scheme = new ExactSvmScheme(wallet, rpcUrl === undefined ? {} : { rpcUrl });
  const client = new x402Client()
    .register("solana:*", scheme)
    .registerExtension({ key: PAYMENT_IDENTIFIER, enrichPaymentPayload: addPaymentIdentifier });
  const http = new x402HTTPClient(client);
  return async ({ required, price, network, asset }) => {
    if (!network.startsWith("solana:")) throw new PaymentError("not_payable", `${network} is not Solana.`);
    client.setSpendControls({
      allowedAssets: [
        { network: `solana:${network.slice(7)}`, asset, maxAmountPerPayment: price.toString() },
      ],
    });
    try {
      return http.encodePaymentSignatureHeader(await http.createPaymentPayload(required));
    } catch (cause) {
      throw new PaymentError(
        "signing_failed",
        `The payment could not be signed: ${cause instanceof Error ? cause.message : "unknown reason"}. Nothing was spent.`,
        { cause },
      );
    }
  };
}

/** Servers that declare the extension may demand an id; without one they answer 400. */
async function addPaymentIdentifier(
  payload: PaymentPayload,
  required: PaymentRequired,
): Promise<PaymentPayload> {
  const declared = required.extensions?.[PAYMENT_IDENTIFIER];
  if (typeof declared !== "object" || declared === null) return payload;
  const info = "info" in declared && typeof declared.info === "object" ? declared.info : {};
  const id = `pay_${randomUUID().replaceAll("-", "")}`;
  const extension = { ...declared, info: { ...info, id } };
  return { ...payload, extensions: { ...payload.extensions, [PAYMENT_IDENTIFIER]: extension } };
}
