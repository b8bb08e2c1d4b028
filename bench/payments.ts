import { generateKeyPairSigner } from "@solana/kit";
import { encodePaymentSignatureHeader } from "@x402/core/http";
import { isPaymentRequiredV2 } from "@x402/core/schemas";
import type { PaymentRequired } from "@x402/core/types";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { BLOCKHASH } from "./lane.ts";

const WALLETS = 64;
const AT_ONCE = 16;

/** Signs the given number of distinct payments, one fresh challenge for each; returns `PAYMENT-SIGNATURE` values. */
export type SignPayments = (url: string, count: number) => Promise<string[]>;

/**
 * The official client's transactions, signed beforehand by 64 wallets in turn (a server may bound what one payer has in
 * flight). The blockhash is handed to the client, which then asks no RPC for it, and left out of what is echoed.
 */
export async function createPayments(rpcUrl: string): Promise<SignPayments> {
  const wallets = await Promise.all(Array.from({ length: WALLETS }, () => generateKeyPairSigner()));
  const schemes = wallets.map((wallet) => new ExactSvmScheme(wallet, { rpcUrl }));

  async function sign(url: string, index: number): Promise<string> {
    const { resource, extensions, accepts } = await askTerms(url);
    const [accepted] = accepts;
    const scheme = schemes[index % WALLETS];
    if (accepted === undefined || scheme === undefined) throw new Error(`${url} offers nothing`);
    const terms = { ...accepted, extra: { ...accepted.extra, recentBlockhash: BLOCKHASH } };
    const { x402Version, payload } = await scheme.createPaymentPayload(2, terms);
    const echoed = extensions === undefined ? {} : { extensions };
    return encodePaymentSignatureHeader({ x402Version, payload, accepted, resource, ...echoed });
  }

  return async (url, count) => {
    const signed: string[] = [];
    let next = 0;
    const work = async () => {
      for (let index = next++; index < count; index = next++) signed.push(await sign(url, index));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return signed;
  };
}

async function askTerms(url: string): Promise<PaymentRequired> {
  const response = await fetch(url);
  await response.body?.cancel();
  const required: unknown = JSON.parse(
    Buffer.from(response.headers.get("payment-required") ?? "", "base64").toString("utf8"),
  );
  if (!isDeclaration(required)) throw new Error(`${url} answered ${response.status} without terms`);
  return required;
}

function isDeclaration(value: unknown): value is PaymentRequired {
  return isPaymentRequiredV2(value);
}
