import { hash } from "node:crypto";
import type { CancelSignal } from "../../facilitator-client/cancellation.ts";
import type { FacilitatorRequest, VerifyResult } from "../../facilitator-client/types.ts";
import { type ErrorCode, GatewayError } from "../errors.ts";
import type { ClaimOutcome, ClaimRequest, Ledger, PaymentRecord } from "../ledger/ledger.ts";
import type { SealedResponse } from "../ledger/sealed-response.ts";
import type { Route } from "../routes.ts";
import { type ArrivedPayment, withoutSecrets } from "./arrived-payment.ts";
import type { StoredResponse } from "./charge.ts";
import type { Facilitators } from "./facilitators.ts";
import type { Reconciler } from "./reconcile.ts";
import type { PaymentSource, RefusedPayments } from "./refused-payments.ts";
import { openResponse } from "./response-store.ts";
import {
  createX402Charge,
  type WalletCharge,
  type X402ChargeParts,
  type X402Payment,
} from "./x402-charge.ts";

/** What a payment header leads to. `error` with status 402 is answered with fresh requirements. */
export type Opening =
  | { readonly kind: "charge"; readonly charge: WalletCharge }
  | {
      readonly kind: "replay";
      readonly response: StoredResponse;
      readonly proof: Readonly<Record<string, string>>;
    }
  /** Settled, and on an account instead of served; as it was read, or just before it was credited. */
  | { readonly kind: "credited"; readonly record: PaymentRecord }
  | { readonly kind: "error"; readonly error: GatewayError };

export interface PaymentCall {
  readonly route: Route;
  /** As its 402 names it (resource-path.ts). */
  readonly path: string;
  /** Of the request (fingerprint.ts). */
  readonly fingerprint: string;
  /** See {@link PaymentRecord.beneficiary}. */
  readonly beneficiary: string | undefined;
  /** Of the client. */
  readonly address: string;
  /** Aborted when the client leaves before anything was settled. */
  readonly signal: CancelSignal;
  /** See {@link X402Payment}. */
  readonly usage: X402Payment["usage"];
  readonly onEnd: X402Payment["onEnd"];
}

export interface OpenPaymentParts extends X402ChargeParts {
  readonly ledger: Ledger;
  readonly facilitators: Facilitators;
  readonly reconciler: Reconciler;
  readonly refusals: RefusedPayments;
  readonly leaseMs: number;
  readonly settleByMs: number;
  readonly maxInFlight: number;
  readonly keepResponses: boolean;
  /** Upper bound of the chain's height, if known (height-tracker.ts). */
  readonly height: () => bigint | undefined;
  readonly now: () => number;
  /** The facilitator no longer manages a feePayer that we offered: ask it again. */
  readonly onFeePayerRefused: () => void;
}

/** A record can be decided or replaced under a claim's feet only so often; then the caller is asked to come back. */
const MAX_ROUNDS = 3;

/**
 * The order on arrival (design: section 4): local checks that need no one; look the record up; only a new claim is compared
 * with today's terms; claim; verify with the facilitator. The result is a charge, a replay, or an error that says what to do.
 */
export async function openPayment(
  parts: OpenPaymentParts,
  arrived: ArrivedPayment,
  call: PaymentCall,
): Promise<Opening> {
  // A limit of refusals keeps a new payment from being claimed; one that is recorded is answered all the same.
  const refusal = arrived.refusal ?? parts.refusals.limit(sourceOf(arrived, call));
  const payment = { ...arrived, refusal };
  const request = claimRequest(parts, payment, call);
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const outcome = await parts.ledger.claim(request);
    const opening = await follow(parts, payment, call, request, outcome);
    if (opening !== "again") return opening;
  }
  return problem("settlement_unknown", 2);
}

function sourceOf(payment: ArrivedPayment, { address }: PaymentCall): PaymentSource {
  return { address, payer: payment.transfer.payer, isPayersDoing: payment.x402Version === 2 };
}

function claimRequest(parts: OpenPaymentParts, payment: ArrivedPayment, call: PaymentCall): ClaimRequest {
  const { transfer, identifier } = payment;
  return {
    id: transfer.id,
    fingerprint: call.fingerprint,
    payer: transfer.payer,
    amount: payment.amount,
    asset: payment.asset,
    assetAmount: transfer.amount,
    payTo: payment.payTo,
    network: payment.network,
    x402Version: payment.x402Version,
    route: `${call.route.method} ${call.route.path}`,
    isTopUp: call.route.target.kind === "credit",
    memo: transfer.memo,
    feePayer: transfer.feePayer,
    claimHeight: parts.height(),
    beneficiary: call.beneficiary,
    identifierHash:
      identifier === undefined
        ? undefined
        : hash("sha256", JSON.stringify([transfer.payer, identifier]), "hex"),
    admitNew: payment.refusal === undefined,
    leaseMs: parts.leaseMs,
    maxInFlight: parts.maxInFlight,
  };
}

/** The retry table of design section 4, one case a row. */
async function follow(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  call: PaymentCall,
  request: ClaimRequest,
  outcome: ClaimOutcome,
): Promise<Opening | "again"> {
  switch (outcome.outcome) {
    case "claimed":
      return verifyClaim(parts, payment, call, outcome);
    case "resumed":
      return serveSettled(parts, payment, call, outcome.record, outcome.fence, outcome.response);
    case "delivered":
      return replay(parts, payment, call, outcome.record, outcome.response);
    case "in_progress":
      return problem("payment_in_progress", 1);
    case "used":
    case "trimmed":
      return problem("payment_already_used");
    case "credited":
      return credited(outcome.record);
    case "undecided":
      return (await parts.reconciler.reconcile(request.id)) === "undecided"
        ? problem("settlement_unknown", 2)
        : "again";
    case "identifier_conflict":
      return problem("payment_identifier_conflict");
    case "identifier_replay":
      return serveOther(parts, payment, call, request, outcome.record, outcome.response);
    case "twin":
      return serveOther(parts, payment, call, request, outcome.record, undefined);
    case "not_admitted":
      return { kind: "error", error: payment.refusal ?? new GatewayError("payment_mismatch") };
    case "too_many_in_flight":
      return problem("too_many_payments", 1);
  }
}

/** A new claim: the facilitator's verify, and then the charge. Nothing has been spent if this fails. */
async function verifyClaim(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  call: PaymentCall,
  claim: Extract<ClaimOutcome, { readonly outcome: "claimed" }>,
): Promise<Opening> {
  const { fence, createdAt } = claim;
  const request = withoutSecrets(payment);
  parts.leases.hold(payment.transfer.id, fence);
  const source = sourceOf(payment, call);
  const facilitator = parts.facilitators.choose(payment.transfer);
  const ask = () => facilitator.verify(request, call.signal);
  const result = await parts.refusals.verify(source, ask);
  const { id } = payment.transfer;
  if (result instanceof GatewayError) return giveBack(parts, id, fence, result);
  if (result.outcome !== "ok") {
    parts.leases.drop(id, fence);
    return refuseVerify(parts, payment, fence, result);
  }
  const upfront = claim.upfront || call.route.settle === "upfront";
  const onRefused = () => parts.refusals.settleRefused(source);
  const terms = {
    id,
    amount: payment.amount,
    assetAmount: payment.transfer.amount,
    fence,
    upfront,
    facilitator,
    settledAs: undefined,
    x402Version: payment.x402Version,
    createdAt,
    path: call.path,
    usage: call.usage,
    onEnd: call.onEnd,
    onRefused,
  };
  return { kind: "charge", charge: charge(parts, payment, request, terms) };
}

/** Claimed, and then not asked about: others of its address were refused meanwhile. */
async function giveBack(
  parts: OpenPaymentParts,
  id: string,
  fence: number,
  error: GatewayError,
): Promise<Opening> {
  parts.leases.drop(id, fence);
  const released = await parts.ledger.release(id, fence, { reason: error.code, watched: false, strikeMs: 0 });
  if (released === "lost") return problem("payment_in_progress", 1);
  parts.onState("released");
  return { kind: "error", error };
}

/**
 * A failed simulation may mean that the transfer has landed already, by another hand: it is watched. If it was refused
 * after `/settle` before, that is likely, so the chain is asked now: the payer must not be told to pay again.
 */
async function refuseVerify(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  fence: number,
  result: Exclude<VerifyResult, { readonly outcome: "ok" }>,
): Promise<Opening> {
  const { id } = payment.transfer;
  const { reason } = result;
  const refused = result.outcome === "refused";
  if (refused && reason.includes("fee_payer")) parts.onFeePayerRefused();
  // Only a v2 token proves that the transfer was meant for this ledger: in v1 it may have bought something elsewhere.
  const landed = refused && payment.x402Version === 2 && reason.includes("simulation_failed");
  const released = await parts.ledger.release(id, fence, { reason, watched: landed, strikeMs: 0 });
  if (released === "lost") return problem("payment_in_progress", 1);
  parts.onState("released");
  if (!refused) return problem("facilitator_unavailable", 2);
  // A question that was under way before the release above has lost the record to this claim: hence twice.
  for (let round = 0; round < 2 && fence > 1; round += 1) {
    if ((await parts.ledger.payment(id))?.watched !== true) break;
    const decision = await parts.reconciler.reconcile(id);
    const record = await parts.ledger.payment(id);
    if (record?.state === "credited") return credited(record);
    if (decision === "undecided") break;
  }
  return problem("payment_invalid");
}

/** A settled payment whose client keeps leaving has had its money's worth of upstream calls; the rest is credit. */
const MAX_SERVINGS = 5;

/**
 * Settled earlier and not delivered: served now, without a new settlement. A v1 payload sent again cannot prove whose it
 * is, since the chain shows all of it; a newly signed one can.
 */
async function serveSettled(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  call: PaymentCall,
  record: PaymentRecord,
  fence: number,
  sealed: SealedResponse | undefined,
): Promise<Opening> {
  const transaction = record.transaction ?? "";
  const request = withoutSecrets(payment);
  const { id, amount } = record;
  const response = open(payment, sealed);
  if (response !== undefined) {
    // What is paid for is given out, also where its usage cannot be told.
    const facts = await call.usage().catch((error: unknown) => void parts.onFault(error, id));
    const usage = facts && { facts: { ...facts, transaction }, charged: amount };
    if ((await parts.ledger.deliver(id, fence, undefined, usage)) === "lost")
      return problem("payment_in_progress", 1);
    parts.onState("delivered");
    return {
      kind: "replay",
      response,
      proof: await parts.proof({ path: call.path, ...record }, transaction),
    };
  }
  const opened = charge(parts, payment, request, {
    id,
    amount,
    assetAmount: record.assetAmount,
    fence,
    upfront: true,
    facilitator: undefined,
    settledAs: transaction,
    x402Version: record.x402Version,
    createdAt: record.createdAt,
    path: call.path,
    usage: call.usage,
    onEnd: call.onEnd,
    onRefused: () => undefined,
  });
  const replayedV1 = payment.x402Version === 1 && payment.transfer.id === id;
  if (!replayedV1 && record.servings <= MAX_SERVINGS) return { kind: "charge", charge: opened };
  const reason = replayedV1 ? "v1_not_replayed" : "served_too_often";
  await opened.release({ reason, by: "server", worked: false });
  return credited(record);
}

async function replay(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  { path }: PaymentCall,
  record: PaymentRecord,
  sealed: SealedResponse | undefined,
): Promise<Opening> {
  const response = open(payment, sealed);
  if (response === undefined) return problem("response_not_stored");
  const proof = await parts.proof({ path, ...record }, record.transaction ?? "");
  return { kind: "replay", response, proof };
}

/** An earlier payment of the same payer for the same request: it serves the call, and the new one is left unspent. */
async function serveOther(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  call: PaymentCall,
  request: ClaimRequest,
  record: PaymentRecord,
  sealed: SealedResponse | undefined,
): Promise<Opening | "again"> {
  switch (record.state) {
    case "delivered":
      return replay(parts, payment, call, record, sealed);
    case "credited":
      return credited(record);
    case "released":
      return "again";
    case "open":
      return problem("payment_in_progress", 1);
    case "settling":
    case "unknown":
      // One whose client left is still being settled. One that is unknown is leased by a reconciler at most: join it.
      if (record.state === "settling" && record.leased) return problem("payment_in_progress", 1);
      if ((await parts.reconciler.reconcile(record.id)) === "undecided")
        return problem("settlement_unknown", 2);
      return "again";
    case "settled": {
      const resumed = await parts.ledger.resume(record.id, request.fingerprint, parts.leaseMs);
      if (resumed === "lost") return problem("payment_in_progress", 1);
      return serveSettled(parts, payment, call, resumed.record, resumed.fence, sealed);
    }
  }
}

function charge(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  request: FacilitatorRequest,
  claim: Omit<X402Payment, "payer" | "network" | "request" | "settleBy" | "responseKeys">,
): WalletCharge {
  // What is spread comes last: before other fields it would give each object a hidden class of its own.
  return createX402Charge(parts, {
    payer: payment.transfer.payer,
    network: payment.network,
    request,
    settleBy: parts.now() + parts.settleByMs,
    responseKeys: parts.keepResponses ? payment.responseKeys : () => [],
    ...claim,
  });
}

function open(payment: ArrivedPayment, sealed: SealedResponse | undefined): StoredResponse | undefined {
  return sealed === undefined ? undefined : openResponse(sealed.sealed, payment.responseKeys());
}

function credited(record: PaymentRecord): Opening {
  return { kind: "credited", record };
}

function problem(code: ErrorCode, retryAfterSeconds?: number): Opening {
  const options = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  return { kind: "error", error: new GatewayError(code, options) };
}
