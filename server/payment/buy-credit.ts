import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";
import { creditedAccount, type PaymentRecord } from "../ledger/ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Route } from "../routes.ts";
import type { ArrivedPayment } from "./arrived-payment.ts";
import type { Opening } from "./opening.ts";
import { openingOf, readPayment, refuseUnsellable, type WalletParts } from "./pay-by-wallet.ts";
import { readBody } from "./read-body.ts";
import { resourcePath } from "./resource-path.ts";
import type { Visit } from "./visit.ts";
import { writeStored } from "./write-answer.ts";
import type { WalletCharge } from "./x402-charge.ts";

/** What somebody wants to pay in, checked. */
export interface CreditOrder {
  readonly amount: MicroUsd;
  /** Why nothing is sold for this amount now; what was paid while it was is credited and answered all the same. */
  readonly refusal: GatewayError | undefined;
  /** The account that a credential sent along names; undefined: the payer's wallet account. Rejects with LedgerFault. */
  beneficiary(req: IncomingMessage): Promise<string | undefined | GatewayError>;
  /**
   * The JSON that answers for a payment whose credit is durable. The same payment may come here any number of times, and at once.
   * Rejects with LedgerFault.
   */
  answer(paid: CreditedPayment): Promise<Readonly<Record<string, unknown>> | GatewayError>;
}

export interface CreditedPayment {
  readonly record: PaymentRecord;
  /** Of the request that is answered. */
  readonly fingerprint: string;
  /** The same payment was credited before this request came. */
  readonly repeated: boolean;
}

/** Reads what a request for credit asks for. */
export type CreditDesk = (route: Route, req: IncomingMessage, body: Buffer) => CreditOrder | GatewayError;

export interface CreditParts
  extends Pick<WalletParts, "reader" | "payments" | "bodyLimitBytes" | "priced" | "usage" | "onEnd"> {
  readonly desk: CreditDesk;
}

/** Why such a payment is a credit; becomes the record's reason. */
const REASON = "topped_up";
const V2_ONLY =
  "Credit is sold under x402 version 2 only: a payment of version 1 has no token that proves whose it is.";

/** Also the answer to a body that nobody can read, as on every route: a crawler looks for the terms. */
const ASKED = new GatewayError("payment_required");

/**
 * A request for credit (`POST /topup`, `POST /keys`). The order: what is asked for; whose account; the payment; settle; credit;
 * and only then the answer. Nothing runs in between, so there is no gate. An error is what remains to be answered.
 * Rejects with LedgerFault.
 */
export async function buyCredit(parts: CreditParts, visit: Visit): Promise<GatewayError | undefined> {
  const { req, match } = visit;
  const pays = parts.reader.carries(req.headers);
  const refusal = pays ? refuseUnsellable(visit) : undefined;
  if (refusal !== undefined) return refusal;
  const body = await readBody(req, parts.bodyLimitBytes);
  if (body instanceof GatewayError) return body;
  const order = parts.desk(match.route, req, body);
  if (order instanceof GatewayError) return pays || order.code !== "invalid_json" ? order : ASKED;
  if (!pays && order.refusal !== undefined) return order.refusal;
  visit.match = parts.priced(match, { range: { most: order.amount, least: order.amount } });
  const beneficiary = await order.beneficiary(req);
  if (beneficiary instanceof GatewayError) return beneficiary;
  if (!pays) return ASKED;
  const arrived = await readPayment(parts, visit);
  if (arrived instanceof GatewayError) return order.refusal ?? arrived;
  const payment = { ...arrived, refusal: order.refusal ?? arrived.refusal };
  // Whoever sees a v1 payment on the chain can send it again: it must not buy a secret, nor credit an account of his choice.
  if (payment.x402Version === 1) return new GatewayError("unsupported_version", { message: V2_ONLY });
  return pay(parts, visit, order, { payment, body, beneficiary });
}

async function pay(
  parts: CreditParts,
  visit: Visit,
  order: CreditOrder,
  paid: {
    readonly payment: ArrivedPayment;
    readonly body: Buffer;
    readonly beneficiary: string | undefined;
  },
): Promise<GatewayError | undefined> {
  const { payment, body, beneficiary } = paid;
  const { payer } = payment.transfer;
  visit.account = creditedAccount({ beneficiary, payer });
  const { opening, fingerprint } = await openingOf(parts, visit, payment, body, beneficiary);
  const ended = await endAsCredit(visit, opening);
  if (ended instanceof GatewayError) return ended;
  const record = await parts.payments.ledger.payment(ended.id);
  if (record?.state !== "credited") return new GatewayError("ledger_unavailable", { retryAfterSeconds: 2 });
  // A record that was made of the chain alone (`check --chain --credit`) is of no request.
  if (record.fingerprint !== fingerprint && record.fingerprint !== "") {
    return new GatewayError("payment_already_used");
  }
  visit.account = creditedAccount(record);
  // Its retry gets the answer: a secret must not be made for nobody.
  if (visit.res.closed) return undefined;
  const answer = await order.answer({ record, fingerprint, repeated: ended.repeated });
  if (answer instanceof GatewayError) return answer;
  write(visit, answer, ended.proof ?? (await proofOf(parts, visit, record)));
  return undefined;
}

interface Ended {
  readonly id: string;
  /** It was credited before. */
  readonly repeated: boolean;
  /** Of the settlement, where it was made now. */
  readonly proof: Readonly<Record<string, string>> | undefined;
}

/** Resolves when the credit is durable. */
async function endAsCredit(visit: Visit, opening: Opening): Promise<Ended | GatewayError> {
  switch (opening.kind) {
    case "error":
      return opening.error;
    case "credited":
      return { id: opening.record.id, repeated: true, proof: undefined };
    case "replay":
      return new GatewayError("payment_already_used");
    case "charge":
      return settleAndCredit(visit, opening.charge);
  }
}

async function settleAndCredit(visit: Visit, charge: WalletCharge): Promise<Ended | GatewayError> {
  const { res } = visit;
  visit.charge = charge;
  const orphan = (): void => charge.orphan();
  res.once("close", orphan);
  const settled = await charge.settle(() => res.closed);
  res.off("close", orphan);
  if (settled.outcome === "failed") return settled.error;
  // Also for a client that has left: its money is here.
  const credited = await charge.credit(REASON);
  if (!credited) return new GatewayError("ledger_unavailable", { retryAfterSeconds: 2 });
  return { id: charge.paymentId, repeated: false, proof: settled.headers };
}

/** The same bytes as when it was settled. */
function proofOf({ payments }: CreditParts, { match }: Visit, record: PaymentRecord) {
  const path = resourcePath(match.route, match.path);
  return payments.proof({ path, ...record }, record.transaction ?? "");
}

function write(
  { res }: Visit,
  answer: Readonly<Record<string, unknown>>,
  proof: Readonly<Record<string, string>>,
): void {
  const body = Buffer.from(JSON.stringify(answer));
  const headers = [
    ["Content-Type", "application/json; charset=utf-8"],
    ["X-Content-Type-Options", "nosniff"],
    ["Content-Length", String(body.length)],
  ] as const;
  writeStored(res, { status: 200, headers, body }, proof);
}
