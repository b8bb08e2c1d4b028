import {
  extractReceiptFromResponse,
  type ReceiptPayload,
  verifyReceiptSignatureJWS,
} from "@x402/extensions/offer-receipt";
import { compactVerify, createRemoteJWKSet, decodeProtectedHeader } from "jose";
import { RECEIPT_KEY, SESSION_KEY } from "../account/account-world.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import type { ShopOptions } from "../support/shop.ts";
import { openCreditShop } from "../topup/credit-shop.ts";

const YAML = `routes:\n  "GET /report/:id": { upstream: default, price: "$0.05", tiers: [x402, key] }\n`;

/** A shop that gives receipts, sells credit and has an account API. */
export function openReceiptShop({ yaml = "", env = {} }: ShopOptions = {}): Promise<KeyedShop> {
  return openCreditShop({
    yaml: YAML + yaml,
    env: { FAREBOX_RECEIPT_KEY: RECEIPT_KEY, FAREBOX_SESSION_KEY: SESSION_KEY, ...env },
  });
}

/** The JWS of an answer's receipt; undefined: it has none. */
export function receiptOf(response: Response): string | undefined {
  const receipt = extractReceiptFromResponse(response);
  if (receipt === undefined) return undefined;
  if (receipt.format !== "jws" || Object.keys(receipt).length !== 2) throw new Error(JSON.stringify(receipt));
  return receipt.signature;
}

/** What a receipt says, after the official package and jose have both found its signature good by what the shop publishes. */
export async function verified(shop: { readonly url: string }, receipt: string): Promise<ReceiptPayload> {
  // Resolves the DID of the `kid` over HTTP.
  const said = await verifyReceiptSignatureJWS({ format: "jws", signature: receipt });
  const keys = createRemoteJWKSet(new URL(`${shop.url}/.well-known/jwks.json`));
  const { payload } = await compactVerify(receipt, keys, { algorithms: ["EdDSA"] });
  if (JSON.stringify(said) !== Buffer.from(payload).toString()) throw new Error("two payloads");
  return said;
}

export function kidOf(receipt: string): string | undefined {
  return decodeProtectedHeader(receipt).kid;
}
