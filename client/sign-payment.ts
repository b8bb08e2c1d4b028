import type { TransactionSigner } from "@solana/kit";
import { type PaymentPayload, type PaymentRequired, x402Client, x402HTTPClient } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { FareboxError } from "./farebox-error.ts";
import type { Terms } from "./terms.ts";

const PAYMENT_IDENTIFIER = "payment-identifier";

export interface SignerOptions {
  readonly wallet: TransactionSigner;
  /** Undefined: the network's public RPC. */
  readonly rpcUrl: string | undefined;
}

/** A wallet that signs the transfer that {@link Terms} ask for and returns it as request headers. */
export interface PaymentSigner {
  readonly payer: string;
  sign(terms: Terms): Promise<Readonly<Record<string, string>>>;
}

/**
 * The official client behind {@link PaymentSigner}. The spend control of that client is set to the very amount of the terms,
 * so that nothing larger than what the caller has seen can be signed; so each signing has a client of its own.
 * `registerExactSvmScheme` is not used because it drops `rpcUrl`.
 */
export function createPaymentSigner({ wallet, rpcUrl }: SignerOptions): PaymentSigner {
  const scheme = new ExactSvmScheme(wallet, rpcUrl === undefined ? {} : { rpcUrl });
  return {
    payer: wallet.address,
    async sign(terms) {
      refuseOwnFee(terms, wallet.address);
      return signTerms(scheme, terms);
    },
  };
}

/** The network's fee is in SOL, for which there is no limit: a wallet that is named to pay it would sign for both. */
function refuseOwnFee({ required }: Terms, payer: string): void {
  if (!required.accepts.some(({ extra }) => extra?.["feePayer"] === payer)) return;
  throw new FareboxError(
    "not_payable",
    "The server names this wallet to pay the network's fee as well. Nothing was signed.",
  );
}

async function signTerms(
  scheme: ExactSvmScheme,
  { required, price, network, asset }: Terms,
): Promise<Readonly<Record<string, string>>> {
  const client = new x402Client()
    .register("solana:*", scheme)
    .registerExtension({ key: PAYMENT_IDENTIFIER, enrichPaymentPayload: addPaymentIdentifier })
    .setSpendControls({ allowedAssets: [{ network, asset, maxAmountPerPayment: price.toString() }] });
  const http = new x402HTTPClient(client);
  try {
    return http.encodePaymentSignatureHeader(await http.createPaymentPayload(required));
  } catch (cause) {
    throw new FareboxError(
      "signing_failed",
      `The payment could not be signed: ${cause instanceof Error ? cause.message : "unknown reason"}. Nothing was spent.`,
      { cause },
    );
  }
}

/** Servers that declare the extension may demand an id; without one they answer 400. */
async function addPaymentIdentifier(
  payload: PaymentPayload,
  required: PaymentRequired,
): Promise<PaymentPayload> {
  const declared = required.extensions?.[PAYMENT_IDENTIFIER];
  if (typeof declared !== "object" || declared === null) return payload;
  const info = "info" in declared && typeof declared.info === "object" ? declared.info : {};
  const id = `pay_${crypto.randomUUID().replaceAll("-", "")}`;
  const extension = { ...declared, info: { ...info, id } };
  return { ...payload, extensions: { ...payload.extensions, [PAYMENT_IDENTIFIER]: extension } };
}
