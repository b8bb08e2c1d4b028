import { Cancellation } from "../../facilitator-client/cancellation.ts";
import { wrongTier } from "../auth/credential.ts";
import { GatewayError } from "../errors.ts";
import type { UsageFacts } from "../ledger/call-ledger.ts";
import { creditedAccount, type PaymentRecord } from "../ledger/ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { RouteMatch } from "../route-table.ts";
import type { ArrivedPayment, PaymentReader } from "./arrived-payment.ts";
import type { Deliveries } from "./deliver.ts";
import { fingerprint, queryOf } from "./fingerprint.ts";
import { openPayment } from "./open-payment.ts";
import type { Opening, OpenPaymentParts } from "./opening.ts";
import { readBody } from "./read-body.ts";
import { resourcePath } from "./resource-path.ts";
import type { Sale } from "./sale.ts";
import type { Visit } from "./visit.ts";
import { writeStored } from "./write-answer.ts";

const PIPELINED = new GatewayError("invalid_request", {
  message: "A paid request must not be sent before the answer to the one before it on the same connection.",
  headers: { Connection: "close" },
});

/** What every tier asks before it reads anything: undefined, or why this request cannot be sold. */
export function refuseUnsellable({ req, res, match }: Visit): GatewayError | undefined {
  // Node tells a response that waits behind another on its connection neither that it finished nor that the client left.
  if (res.socket === null) return PIPELINED;
  if (req.method !== "HEAD") return undefined;
  return new GatewayError("method_not_allowed", { headers: { Allow: match.route.method } });
}

export interface WalletParts {
  readonly reader: PaymentReader;
  readonly payments: OpenPaymentParts;
  readonly bodyLimitBytes: number;
  /** Whether a call's price depends on its body. */
  readonly isQuoted: (match: RouteMatch) => boolean;
  readonly priced: (match: RouteMatch, sale: Pick<Sale, "range">) => RouteMatch;
  readonly check: (visit: Visit, body: Buffer) => GatewayError | Sale;
  readonly deliveries: Deliveries;
  /** A call is over: what its payer bears, or why nothing. */
  readonly onEnd: (visit: Visit, charged: MicroUsd, notCharged: string | undefined) => void;
  /** What is recorded of a call that is delivered. */
  readonly usage: (visit: Visit, notCharged: string | undefined) => Promise<UsageFacts>;
}

/** A request with a payment header (design: section 4). An error is what remains to be answered. Rejects with LedgerFault. */
export async function payByWallet(parts: WalletParts, visit: Visit): Promise<GatewayError | undefined> {
  const refusal = refuseUnsellable(visit);
  if (refusal !== undefined) return refusal;
  if (!visit.match.route.tiers.includes("x402")) return wrongTier();
  const arrived = parts.isQuoted(visit.match) ? await readQuoted(parts, visit) : await readFlat(parts, visit);
  if (arrived instanceof GatewayError) return arrived;
  const { payment, body, sale } = arrived;
  visit.sale = sale;
  const { opening } = await openingOf(parts, visit, payment, body, undefined);
  if (opening.kind === "error") return opening.error;
  if (opening.kind === "credited") return refuseCredited(opening.record);
  if (opening.kind === "replay") {
    writeStored(visit.res, opening.response, opening.proof);
    return undefined;
  }
  const { charge } = opening;
  visit.charge = charge;
  return parts.deliveries.deliver(visit, {
    sale,
    body,
    charge,
    budget: undefined,
    upstreamKey: undefined,
    keeps: parts.payments.keepResponses,
    timeoutMs: undefined,
  });
}

interface Arrived {
  readonly payment: ArrivedPayment;
  readonly body: Buffer;
  readonly sale: Sale;
}

/** The payment first: a bogus one costs no reading. */
async function readFlat(parts: WalletParts, visit: Visit): Promise<Arrived | GatewayError> {
  const payment = await readPayment(parts, visit);
  if (payment instanceof GatewayError) return payment;
  const body = await readBody(visit.req, parts.bodyLimitBytes);
  if (body instanceof GatewayError) return body;
  const sale = parts.check(visit, body);
  return sale instanceof GatewayError ? sale : { payment, body, sale };
}

/** The price is in the body, so that comes first. */
async function readQuoted(parts: WalletParts, visit: Visit): Promise<Arrived | GatewayError> {
  const body = await readBody(visit.req, parts.bodyLimitBytes);
  if (body instanceof GatewayError) return body;
  const sale = parts.check(visit, body);
  if (sale instanceof GatewayError) return sale;
  visit.match = parts.priced(visit.match, sale);
  const payment = await readPayment(parts, visit);
  return payment instanceof GatewayError ? payment : { payment, body, sale };
}

/** Decodes the payment of a request at the price it was given. */
export async function readPayment(
  { reader }: Pick<WalletParts, "reader">,
  visit: Visit,
): Promise<ArrivedPayment | GatewayError> {
  const payment = await reader.read(visit.req.headers, visit.match);
  if (!(payment instanceof GatewayError)) visit.payer = payment.transfer.payer;
  return payment;
}

/** Settled, not served, and on an account by now. */
function refuseCredited(record: PaymentRecord): GatewayError {
  const details = { account: creditedAccount(record), transaction: record.transaction ?? null };
  return new GatewayError("payment_credited", { details });
}

/** Opens the payment of a request, for as long as its client stays. Rejects with LedgerFault. */
export async function openingOf(
  parts: Pick<WalletParts, "payments" | "usage" | "onEnd">,
  visit: Visit,
  payment: ArrivedPayment,
  body: Buffer,
  beneficiary: string | undefined,
): Promise<{ readonly opening: Opening; readonly fingerprint: string }> {
  const { req, res, match } = visit;
  const left = new Cancellation();
  const onClose = (): void => left.abort();
  res.once("close", onClose);
  const { route, path } = match;
  // A conditional range is not asked for (deliver.ts).
  const range = req.headers["if-range"] === undefined ? req.headers.range : undefined;
  const request = { method: route.method, path, query: queryOf(req.url), body, beneficiary, range };
  const requestPrint = fingerprint(request);
  try {
    const opening = await openPayment(parts.payments, payment, {
      route,
      path: resourcePath(route, path),
      fingerprint: requestPrint,
      beneficiary,
      address: visit.paysFrom,
      signal: left,
      usage: () => parts.usage(visit, undefined),
      onEnd: (charged, notCharged) => parts.onEnd(visit, charged, notCharged),
    });
    return { opening, fingerprint: requestPrint };
  } finally {
    res.off("close", onClose);
  }
}
