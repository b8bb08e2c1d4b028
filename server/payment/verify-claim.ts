import type { VerifyResult } from "../../facilitator-client/types.ts";
import { GatewayError } from "../errors.ts";
import type { ClaimOutcome } from "../ledger/ledger.ts";
import { type ArrivedPayment, withoutSecrets } from "./arrived-payment.ts";
import {
  chargeOf,
  credited,
  type Opening,
  type OpenPaymentParts,
  type PaymentCall,
  problem,
  sourceOf,
} from "./opening.ts";

/** A new claim: the facilitator's verify, and then the charge. Nothing has been spent if this fails. */
export async function verifyClaim(
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
    network: payment.network,
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
  return { kind: "charge", charge: chargeOf(parts, payment, request, terms) };
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
    if (decision === "not_yet") break;
    if (decision === "undecided") return problem("settlement_unknown", 2);
  }
  return problem("payment_invalid");
}
