import type { IncomingHttpHeaders } from "node:http";
import type { PaymentRequirements } from "@x402/core/types";
import type { FacilitatorRequest } from "../../facilitator-client/types.ts";
import { type ErrorCode, GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import type { Route } from "../routes.ts";
import type { AssetOffers } from "./asset-offers.ts";
import type { TermsSource } from "./facilitators.ts";
import {
  bindingFor,
  isOtherAsset,
  requirementsFor,
  requirementsIn,
  requirementsV1For,
  type Terms,
} from "./terms.ts";
import { identifierKey, responseKey, type TokenMint } from "./token.ts";
import { type DecodedPayment, decodePayment, isSigned, matchTerms } from "./transaction.ts";
import { acceptedMatches, type DecodedHeader, decodePaymentHeader } from "./wire.ts";

/** The signed transfer inside a payment: checked for structure and signature, true whatever today's terms are. */
export interface Transfer {
  /** SHA-256 (hex) of the message: the payment's id. */
  readonly id: string;
  readonly payer: string;
  /** Atomic units of the asset. */
  readonly amount: bigint;
  readonly memo: string;
  readonly feePayer: string;
}

/** A payment header that passed every check that needs nobody else. */
export interface ArrivedPayment {
  readonly x402Version: 1 | 2;
  readonly transfer: Transfer;
  /** What it is worth here: in USDC the amount of the transfer, in another token what the terms bound to it. */
  readonly amount: MicroUsd;
  readonly asset: string;
  readonly payTo: string;
  /** CAIP-2. */
  readonly network: string;
  readonly identifier: string | undefined;
  /** Keys that open a response stored for it; none in v1. Derived when they are asked for. */
  readonly responseKeys: () => readonly Buffer[];
  /** Why it may not open a new claim under today's terms; a recorded payment is served all the same. */
  readonly refusal: GatewayError | undefined;
  readonly request: FacilitatorRequest;
}

export interface PaymentReaderOptions {
  readonly terms: TermsSource;
  readonly tokens: TokenMint;
  /** USDC's mint. */
  readonly usdc: string;
  /** What credit can be paid in besides USDC. */
  readonly assets: AssetOffers;
  readonly v1: boolean;
  readonly publicUrl: string;
  readonly identifier: "off" | "optional" | "required";
}

/** Where a payment arrived. */
export interface ArrivalPoint {
  readonly route: Route;
  readonly path: string;
}

export interface PaymentReader {
  /** Whether the request carries a payment header at all, well-formed or not. */
  carries(headers: IncomingHttpHeaders): boolean;
  /** Decodes and checks locally, the signature last. Rejects only if that could not be checked. */
  read(headers: IncomingHttpHeaders, at: ArrivalPoint): Promise<ArrivedPayment | GatewayError>;
}

type HeaderV2 = Extract<DecodedHeader, { kind: "v2" }>;
type HeaderV1 = Extract<DecodedHeader, { kind: "v1" }>;

/** Largest payment header read; a v2 payload with its echoed extensions is about 6 KB. */
const MAX_HEADER_BYTES = 12_288;

/** Reads payment headers of both protocol versions. */
export function createPaymentReader(options: PaymentReaderOptions): PaymentReader {
  return {
    carries: (headers) => headers["payment-signature"] !== undefined || headers["x-payment"] !== undefined,
    async read(headers, at) {
      const header = decodePaymentHeader(headers, { v1: options.v1, maxBytes: MAX_HEADER_BYTES });
      switch (header.kind) {
        case "v2":
          return readV2(options, header, at);
        case "v1":
          return readV1(options, header, at);
        case "unsupported_version":
          return new GatewayError("unsupported_version");
        case "malformed":
        case "none":
          return new GatewayError("payment_malformed");
      }
    },
  };
}

async function readV2(
  options: PaymentReaderOptions,
  header: HeaderV2,
  at: ArrivalPoint,
): Promise<ArrivedPayment | GatewayError> {
  const { accepted } = header.payload;
  if (options.identifier === "required" && header.identifier === undefined) {
    return new GatewayError("payment_identifier_required");
  }
  const transfer = decodePayment(header.transaction);
  if (!transfer.ok) return new GatewayError("payment_invalid", { details: { problem: transfer.problem } });
  const { payment } = transfer;
  const binding = bindingFor(at.route, at.path, accepted, options.usdc);
  const token =
    header.token === undefined ? undefined : options.tokens.check(header.token, payment.memo, binding);
  if (header.token === undefined || token === undefined) return mismatch("token");
  // Whoever has the token that a memo is the hash of may hear of the payment, also where its secret was taken out by a rotation.
  if (!token.ok && token.problem !== "mac") return mismatch("token");
  if (header.memo !== payment.memo) return mismatch("memo");
  const secret = header.token;
  const problem = matchTerms(payment, accepted);
  if (problem !== undefined) return mismatch(problem);
  if (accepted.extra?.["feePayer"] !== payment.feePayer) return mismatch("feePayer");
  if (!(await isSigned(payment))) return unsigned();
  const identifier = options.identifier === "off" ? undefined : header.identifier;
  return {
    x402Version: 2,
    transfer: payment,
    // For a new claim, where the token's MAC is over both: the very terms of the 402, whatever a price is today.
    amount: binding.other === undefined ? payment.amount : at.route.price,
    asset: accepted.asset,
    payTo: accepted.payTo,
    network: accepted.network,
    identifier,
    responseKeys: () => responseKeys(secret, identifier),
    refusal: token.ok ? refuseV2(options, header, at, payment.feePayer, token.expired) : mismatch("token"),
    request: { x402Version: 2, paymentPayload: header.payload, paymentRequirements: accepted },
  };
}

function responseKeys(token: string, identifier: string | undefined): readonly Buffer[] {
  return identifier === undefined ? [responseKey(token)] : [responseKey(token), identifierKey(identifier)];
}

/** Today's terms, for a payment that would be claimed anew. */
function refuseV2(
  options: PaymentReaderOptions,
  header: HeaderV2,
  at: ArrivalPoint,
  feePayer: string,
  expired: boolean,
): GatewayError | undefined {
  if (expired) return new GatewayError("payment_expired");
  const terms = options.terms.current();
  if (terms === undefined) return unavailable();
  const stranger = refuseFeePayer(options.terms, feePayer);
  if (stranger !== undefined) return stranger;
  const wanted = wantedIn(options, header.payload.accepted.asset, at.route, { ...terms, feePayer });
  if (wanted instanceof GatewayError) return wanted;
  const field = acceptedMatches(header.payload.accepted, wanted);
  return field === undefined ? undefined : mismatch(field);
}

/** Today's requirements in the asset of a payment. */
function wantedIn(
  { assets, usdc }: PaymentReaderOptions,
  asset: string,
  route: Route,
  terms: Terms,
): PaymentRequirements | GatewayError {
  if (!isOtherAsset(route, asset, usdc)) return requirementsFor(route, terms);
  const token = assets.current().find(({ mint }) => mint === asset);
  if (token !== undefined) return requirementsIn(token, route, terms) ?? mismatch("amount");
  return assets.standingOf(asset) === "unknown" ? mismatch("asset") : new GatewayError("token_not_accepted");
}

/** One that a facilitator may still turn out to have is no reason to sign anew: that payment may be good again soon. */
function refuseFeePayer(terms: TermsSource, feePayer: string): GatewayError | undefined {
  switch (terms.standingOf(feePayer)) {
    case "known":
      return undefined;
    case "unheard":
      return new GatewayError("facilitator_unavailable", { retryAfterSeconds: 2 });
    case "unknown":
      return mismatch("feePayer");
  }
}

async function readV1(
  options: PaymentReaderOptions,
  header: HeaderV1,
  at: ArrivalPoint,
): Promise<ArrivedPayment | GatewayError> {
  if (options.identifier === "required") return new GatewayError("payment_identifier_required");
  const transfer = decodePayment(header.transaction);
  if (!transfer.ok) return new GatewayError("payment_invalid", { details: { problem: transfer.problem } });
  const { payment } = transfer;
  // A v2 memo (challenge.ts gives v1 ones a prefix). Whoever reads it on the chain could pass by its token here.
  if (payment.memo.length === options.tokens.memoLength) return mismatch("x402Version");
  if (!(await isSigned(payment))) return unsigned();
  const terms = options.terms.current();
  if (terms === undefined) return unavailable();
  const requirements = requirementsV1For(at.route, terms, payment.feePayer, options.publicUrl + at.path);
  return {
    x402Version: 1,
    transfer: payment,
    amount: payment.amount,
    asset: terms.asset,
    payTo: terms.payTo,
    network: terms.network,
    identifier: undefined,
    responseKeys: () => [],
    refusal: refuseV1(options, header, at, terms, payment),
    request: { x402Version: 1, paymentPayload: header.payload, paymentRequirements: requirements },
  };
}

function refuseV1(
  options: PaymentReaderOptions,
  header: HeaderV1,
  at: ArrivalPoint,
  terms: Terms,
  payment: DecodedPayment,
): GatewayError | undefined {
  if (header.payload.scheme !== "exact" || header.payload.network !== terms.networkV1)
    return mismatch("network");
  const stranger = refuseFeePayer(options.terms, payment.feePayer);
  if (stranger !== undefined) return stranger;
  const wanted = { amount: at.route.price.toString(), asset: terms.asset, payTo: terms.payTo };
  const problem = matchTerms(payment, wanted);
  return problem === undefined ? undefined : mismatch(problem);
}

/**
 * What the facilitator is sent: without the token, which would let its reader claim the stored response, and without the
 * payment-identifier, which would too. The rest of `extensions` stays: the bazaar reads it there.
 */
export function withoutSecrets(payment: ArrivedPayment): FacilitatorRequest {
  const { request } = payment;
  if (request.x402Version === 1) return request;
  const { token: _token, ...extra } = request.paymentRequirements.extra ?? {};
  const accepted = { ...request.paymentRequirements, extra };
  const { "payment-identifier": _identifier, ...extensions } = request.paymentPayload.extensions ?? {};
  return {
    x402Version: 2,
    paymentPayload: { ...request.paymentPayload, accepted, extensions },
    paymentRequirements: accepted,
  };
}

function unsigned(): GatewayError {
  return new GatewayError("payment_invalid", { details: { problem: "signature" } });
}

function mismatch(field: string): GatewayError {
  return new GatewayError("payment_mismatch" satisfies ErrorCode, { details: { field } });
}

function unavailable(): GatewayError {
  return new GatewayError("terms_unavailable", { retryAfterSeconds: 2 });
}
