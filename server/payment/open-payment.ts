import { hash } from "node:crypto";
import { GatewayError } from "../errors.ts";
import type { ClaimOutcome, ClaimRequest } from "../ledger/ledger.ts";
import { type ArrivedPayment, withoutSecrets } from "./arrived-payment.ts";
import {
  credited,
  type Opening,
  type OpenPaymentParts,
  type PaymentCall,
  problem,
  sourceOf,
} from "./opening.ts";
import { isOpen } from "./reconcile.ts";
import { replay, serveOther, serveSettled } from "./serve-settled.ts";
import { verifyClaim } from "./verify-claim.ts";

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
      return isOpen(await parts.reconciler.reconcile(request.id))
        ? problem("settlement_unknown", 2)
        : "again";
    case "identifier_conflict":
      return problem("payment_identifier_conflict");
    case "identifier_replay":
      return serveOther(parts, payment, call, request, outcome.record, outcome.response);
    case "twin": {
      const stale = payment.x402Version === 1 ? await refuseStale(parts, payment, call) : undefined;
      if (stale !== undefined) return stale;
      return serveOther(parts, payment, call, request, outcome.record, outcome.response);
    }
    case "not_admitted":
      return { kind: "error", error: payment.refusal ?? new GatewayError("payment_mismatch") };
    case "too_many_in_flight":
      return problem("too_many_payments", 1);
  }
}

/** v1 has no token: of what the chain shows anybody can make such a header. Only one that could settle now was signed by its payer now. */
async function refuseStale(
  parts: OpenPaymentParts,
  payment: ArrivedPayment,
  call: PaymentCall,
): Promise<Opening | undefined> {
  if (payment.refusal !== undefined) return { kind: "error", error: payment.refusal };
  const settler = parts.facilitators.choose(payment.transfer);
  const ask = () => settler.verify(withoutSecrets(payment), call.signal);
  const result = await parts.refusals.verify(sourceOf(payment, call), ask);
  if (result instanceof GatewayError) return { kind: "error", error: result };
  if (result.outcome === "ok") return undefined;
  return result.outcome === "refused" ? problem("payment_invalid") : problem("facilitator_unavailable", 2);
}
