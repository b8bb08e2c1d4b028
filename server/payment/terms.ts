import type { PaymentRequirementsV1 } from "@x402/core/schemas";
import type { PaymentRequirements } from "@x402/core/types";
import type { SupportedKind } from "../../facilitator-client/types.ts";
import type { TopUpToken } from "../config.ts";
import type { Route } from "../routes.ts";
import { amountIn } from "./asset-offers.ts";
import type { TokenBinding } from "./token.ts";

/** What the merchant fixes for every payment. */
export interface MerchantTerms {
  /** CAIP-2. */
  readonly network: string;
  /** Protocol v1's name of the network; undefined where v1 is switched off. */
  readonly networkV1: string | undefined;
  /** Mint of the asset, base58. */
  readonly asset: string;
  /** Merchant's wallet, base58. */
  readonly payTo: string;
  readonly maxTimeoutSeconds: number;
}

/** Today's terms: the merchant's, and the feePayer that the facilitator offers. */
export interface Terms extends MerchantTerms {
  readonly feePayer: string;
  /** Protocol v1's feePayer; undefined if the facilitator offers no v1 kind. */
  readonly feePayerV1: string | undefined;
}

/** The terms that one facilitator offers. */
export interface OfferedTerms {
  /** Undefined until the facilitator has answered once, or if it does not settle on this network. */
  current(): Terms | undefined;
  /** Whether a feePayer was offered lately: a payment signed for it is still good. */
  knowsFeePayer(feePayer: string): boolean;
}

/** What one answer to `/supported` offers. */
interface Offer {
  readonly terms: Terms;
  readonly feePayers: ReadonlySet<string>;
}

/**
 * Terms from the merchant's settings and a facilitator's `/supported`. A facilitator with several fee payers names one
 * of them at random and lists them all: another gateway, or this one before its start, may have offered any of them. Each
 * one seen within `memoryMs` stays acceptable.
 */
export function createOfferedTerms(options: {
  readonly merchant: MerchantTerms;
  readonly kinds: () => readonly SupportedKind[] | undefined;
  readonly now: () => number;
  readonly memoryMs: number;
}): OfferedTerms {
  const { merchant, now, memoryMs } = options;
  const seen = new Map<string, number>();
  let lastKinds: readonly SupportedKind[] | undefined;
  let offer: Offer | undefined;

  function current(): Terms | undefined {
    const kinds = options.kinds();
    if (kinds !== lastKinds) {
      remember();
      lastKinds = kinds;
      offer = kinds === undefined ? undefined : readOffer(kinds, merchant);
    }
    return offer?.terms;
  }

  /** What is offered now was offered until now. */
  function remember(): void {
    if (offer === undefined) return;
    for (const [feePayer, at] of seen) if (now() - at > memoryMs) seen.delete(feePayer);
    for (const feePayer of offer.feePayers) seen.set(feePayer, now());
  }

  function knowsFeePayer(feePayer: string): boolean {
    current();
    if (offer?.feePayers.has(feePayer) === true) return true;
    const at = seen.get(feePayer);
    return at !== undefined && now() - at <= memoryMs;
  }

  return { current, knowsFeePayer };
}

function readOffer(kinds: readonly SupportedKind[], merchant: MerchantTerms): Offer | undefined {
  const exact = kinds.filter((kind) => kind.scheme === "exact");
  const v2 = exact.find((kind) => kind.x402Version === 2 && kind.network === merchant.network);
  const v1 = exact.find((kind) => kind.x402Version === 1 && kind.network === merchant.networkV1);
  if (v2?.feePayer === undefined) return undefined;
  const feePayers = new Set([v2.feePayer, ...v2.signers]);
  if (v1?.feePayer !== undefined) feePayers.add(v1.feePayer);
  return { terms: { ...merchant, feePayer: v2.feePayer, feePayerV1: v1?.feePayer }, feePayers };
}

/** The part of the v2 requirements that is the same for every challenge of a route. */
export function requirementsFor(
  route: Route,
  terms: MerchantTerms & { feePayer: string },
): PaymentRequirements {
  return {
    scheme: "exact",
    network: asNetwork(terms.network),
    amount: route.price.toString(),
    asset: terms.asset,
    payTo: terms.payTo,
    maxTimeoutSeconds: terms.maxTimeoutSeconds,
    extra: { feePayer: terms.feePayer },
  };
}

/**
 * The same price in another token. `symbol` and `decimals` are for whoever shows it to people; undefined where the chain knows
 * no such amount.
 */
export function requirementsIn(
  token: TopUpToken,
  route: Route,
  terms: MerchantTerms & { feePayer: string },
): PaymentRequirements | undefined {
  const amount = amountIn(token, route.price);
  if (amount === undefined) return undefined;
  const { mint: asset, symbol, decimals } = token;
  const usdc = requirementsFor(route, terms);
  return { ...usdc, amount: amount.toString(), asset, extra: { ...usdc.extra, symbol, decimals } };
}

/** What the token of an offer is good for. One for another asset than USDC is bound to the asset, and to what it buys. */
export function bindingFor(
  route: Route,
  path: string,
  offer: Pick<PaymentRequirements, "amount" | "asset" | "payTo">,
  usdc: string,
): TokenBinding {
  const { amount, asset, payTo } = offer;
  const binding = { method: route.method, path, amount, payTo };
  if (!isOtherAsset(route, asset, usdc)) return binding;
  return { ...binding, other: { asset, worth: route.price.toString() } };
}

/** Whether a payment of this route in this asset is one in another token than USDC. Only credit can be paid in such. */
export function isOtherAsset(route: Route, asset: string, usdc: string): boolean {
  return route.target.kind === "credit" && asset !== usdc;
}

/** The same in protocol v1. `resource` is the absolute URL of the call. */
export function requirementsV1For(
  route: Route,
  terms: MerchantTerms,
  feePayer: string,
  resource: string,
): PaymentRequirementsV1 {
  return {
    scheme: "exact",
    network: terms.networkV1 ?? "",
    maxAmountRequired: route.price.toString(),
    resource,
    description: route.description,
    mimeType: route.mimeType,
    outputSchema: {},
    payTo: terms.payTo,
    maxTimeoutSeconds: terms.maxTimeoutSeconds,
    asset: terms.asset,
    extra: { feePayer },
  };
}

/** CAIP-2 as the packages type it. */
function asNetwork(network: string): `${string}:${string}` {
  const [namespace = "", reference = ""] = network.split(":", 2);
  return `${namespace}:${reference}`;
}
