import type { ClaimRequest, PaymentRecord } from "../ledger/ledger.ts";
import type { SealedResponse } from "../ledger/sealed-response.ts";
import { type ArrivedPayment, withoutSecrets } from "./arrived-payment.ts";
import type { StoredResponse } from "./charge.ts";
import {
  chargeOf,
  credited,
  type Opening,
  type OpenPaymentParts,
  type PaymentCall,
  problem,
} from "./opening.ts";
import { isOpen } from "./reconcile.ts";
import { openResponse } from "./response-store.ts";

/** A settled payment whose client keeps leaving has had its money's worth of upstream calls; the rest is credit. */
const MAX_SERVINGS = 5;

/**
 * Settled earlier and not delivered: served now, without a new settlement. A v1 payload sent again cannot prove whose it
 * is, since the chain shows all of it; a newly signed one can.
 */
export async function serveSettled(
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
  const opened = chargeOf(parts, payment, request, {
    id,
    amount,
    assetAmount: record.assetAmount,
    // Of what is shown again only the transaction is what it was: nothing binds the network that stands beside it.
    network: record.network,
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

/** Delivered earlier: the stored answer again, if there is one. */
export async function replay(
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

/** Another payment of the same payer for the same request: it serves the call, and this one is left unspent for good. */
export async function serveOther(
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
      if (isOpen(await parts.reconciler.reconcile(record.id))) return problem("settlement_unknown", 2);
      return "again";
    case "settled": {
      const resumed = await parts.ledger.resume(record.id, request.fingerprint, parts.leaseMs, request.id);
      if (resumed === "lost") return problem("payment_in_progress", 1);
      return serveSettled(parts, payment, call, resumed.record, resumed.fence, sealed);
    }
  }
}

function open(payment: ArrivedPayment, sealed: SealedResponse | undefined): StoredResponse | undefined {
  return sealed === undefined ? undefined : openResponse(sealed.sealed, payment.responseKeys());
}
