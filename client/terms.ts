import { parsePaymentRequired } from "@x402/core/schemas";
import { type PaymentRequired, x402Client, x402HTTPClient } from "@x402/fetch";
import { findDefaultAsset } from "@x402/svm";
import { formatTokens, type Token } from "./asset.ts";
import { FareboxError } from "./farebox-error.ts";
import { formatUsd } from "./usd.ts";

const U64_MAX = 18_446_744_073_709_551_615n;
const http = new x402HTTPClient(new x402Client());

/** What a 402 asks for, reduced to the one option that is going to be signed. */
export interface Terms {
  /** The server's declaration with exactly one entry in `accepts`: what was shown is what is signed. */
  readonly required: PaymentRequired;
  /** Atomic units of `asset`: for USDC, micro-USD. */
  readonly price: bigint;
  /** CAIP-2. */
  readonly network: `solana:${string}`;
  /** The mint, base58: USDC's on `network`, or the one that was chosen. */
  readonly asset: string;
  /** What the chain says of the chosen mint; undefined for USDC. */
  readonly token?: Token | undefined;
  readonly payTo: string;
  readonly description: string | undefined;
}

/**
 * Reads the `PAYMENT-REQUIRED` header of a 402 (x402 v2) and picks the first option that is `exact`, on one of these networks of
 * Solana, and in its USDC, or in `mint` if the caller has chosen one. No other asset has a limit that its amount could be held against.
 * Throws {@link FareboxError}: `terms_unreadable`, `not_payable`.
 */
export function readTerms(response: Response, networks?: readonly string[], mint?: string): Terms {
  const required = readDeclaration(response.headers);
  for (const option of required.accepts) {
    const { network } = option;
    const price = readAmount(option.amount);
    if (option.scheme !== "exact" || price === undefined || !isSolana(network)) continue;
    if (networks !== undefined && !networks.includes(network)) continue;
    if (!isWanted(option.asset, network, mint)) continue;
    return {
      required: { ...required, accepts: [option] },
      price,
      network,
      asset: option.asset,
      payTo: option.payTo,
      description: required.resource.description,
    };
  }
  const offered = required.accepts.map((option) => `${option.scheme} on ${option.network}`).join(", ");
  throw new FareboxError(
    "not_payable",
    `The server takes no ${mint ?? "USDC"} on ${networks?.join(" or ") ?? "Solana"} with the exact scheme. It offers: ${offered || "nothing"}. Nothing was signed.`,
  );
}

function readDeclaration(headers: Headers): PaymentRequired {
  let declared: PaymentRequired;
  try {
    declared = http.getPaymentRequiredResponse((name) => headers.get(name));
  } catch (cause) {
    throw new FareboxError("terms_unreadable", "The 402 has no readable PAYMENT-REQUIRED header (x402 v2).", {
      cause,
    });
  }
  const parsed = parsePaymentRequired(declared);
  if (!parsed.success || parsed.data.x402Version !== 2) {
    throw new FareboxError("terms_unreadable", "The PAYMENT-REQUIRED header is not an x402 v2 declaration.", {
      cause: parsed.error,
    });
  }
  return declared;
}

function isWanted(asset: string, network: `solana:${string}`, mint: string | undefined): boolean {
  return mint === undefined ? findDefaultAsset(asset, network)?.symbol === "USDC" : asset === mint;
}

/** `0.05 USD`, or so much of the chosen token. */
export function formatPrice({ token }: Pick<Terms, "token">, amount: bigint): string {
  return token === undefined
    ? `${formatUsd(amount)} USD`
    : `${formatTokens(amount, token.decimals)} ${token.name}`;
}

function isSolana(network: string): network is `solana:${string}` {
  return network.startsWith("solana:");
}

function readAmount(amount: string): bigint | undefined {
  if (!/^\d{1,20}$/.test(amount)) return undefined;
  const atomic = BigInt(amount);
  return atomic > 0n && atomic <= U64_MAX ? atomic : undefined;
}
