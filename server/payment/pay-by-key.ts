import { hash, randomUUID } from "node:crypto";
import { activeKey } from "../auth/active-key.ts";
import type { Authenticator, Caller } from "../auth/authenticate.ts";
import { wrongTier } from "../auth/credential.ts";
import { GatewayError } from "../errors.ts";
import type { AccountLedger, Permission, SealedProviderKey } from "../ledger/account-ledger.ts";
import type { CallLedger, Hold, HoldOutcome, HoldRange, HoldRequest } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Route } from "../routes.ts";
import type { Deliveries } from "./deliver.ts";
import { fingerprint, queryOf } from "./fingerprint.ts";
import { refuseHold } from "./hold-refusal.ts";
import { createKeyCharge, type KeyChargeParts, type KeyedCall } from "./key-charge.ts";
import { endSoon } from "./last-step.ts";
import { refuseUnsellable } from "./pay-by-wallet.ts";
import { rateHeaders } from "./rate-headers.ts";
import { readBody } from "./read-body.ts";
import { openResponse } from "./response-store.ts";
import type { Sale } from "./sale.ts";
import type { Visit } from "./visit.ts";
import { writeStored } from "./write-answer.ts";

export interface KeyParts {
  readonly authenticator: Authenticator;
  readonly ledger: CallLedger & Pick<AccountLedger, "keyBySecret">;
  readonly charges: KeyChargeParts;
  readonly bodyLimitBytes: number;
  readonly holdLeaseMs: number;
  readonly callTimeoutMs: number;
  /** Keep answers for calls that carry an `Idempotency-Key`. */
  readonly keepResponses: boolean;
  /** Where an account's own key is used, if it has stored one. */
  readonly ownKeyProviders: ReadonlySet<string>;
  /** What a call on the account's own provider key costs, of what it costs otherwise. */
  readonly ownKeyFee: (metered: MicroUsd) => MicroUsd;
  /** Opens a customer's own provider key; undefined if that cannot be done here. */
  readonly openProviderKey: (
    account: string,
    provider: string,
    sealed: SealedProviderKey,
  ) => string | undefined;
  readonly check: (visit: Visit, body: Buffer) => GatewayError | Sale;
  readonly deliveries: Deliveries;
}

/** A request with a bearer credential (design: section 5). An error is what remains to be answered. Rejects with LedgerFault. */
export async function payByKey(parts: KeyParts, visit: Visit): Promise<GatewayError | undefined> {
  const { req, match } = visit;
  const sells = match.route.tiers.some((tier) => tier !== "x402");
  if (!sells) return wrongTier();
  const caller = await parts.authenticator.authenticate(req);
  if (caller instanceof GatewayError) return caller;
  visit.tier = caller.tier;
  const refusal = refuseUnsellable(visit);
  if (refusal !== undefined) return refusal;
  if (!match.route.tiers.includes(caller.tier)) return wrongTier();
  const asked = await readCall(parts, visit);
  if (asked instanceof GatewayError) return (await badKey(parts, visit, caller)) ?? asked;
  const { body, sale, idempotency } = asked;
  const admitted = caller.payer === undefined ? FREE : await admit(parts, visit, caller, sale, idempotency);
  if (admitted instanceof GatewayError) return admitted;
  if (admitted === "answered") return undefined;
  return run(parts, visit, caller, { sale, body, ...admitted }, idempotency);
}

interface Asked {
  readonly body: Buffer;
  readonly sale: Sale;
  readonly idempotency: Idempotency;
}

/** What is asked for, or what is wrong with it. */
async function readCall(parts: KeyParts, visit: Visit): Promise<Asked | GatewayError> {
  const body = await readBody(visit.req, parts.bodyLimitBytes);
  if (body instanceof GatewayError) return body;
  const sale = parts.check(visit, body);
  if (sale instanceof GatewayError) return sale;
  visit.sale = sale;
  const idempotency = readIdempotency(visit, body);
  return idempotency instanceof GatewayError ? idempotency : { body, sale, idempotency };
}

/** A call that comes to no hold is refused for its key first, as one that does: a key that ended hears so whatever it asks for. */
async function badKey(
  { ledger, authenticator }: KeyParts,
  { req }: Visit,
  caller: Caller,
): Promise<GatewayError | undefined> {
  if (caller.payer?.kind !== "key") return undefined;
  const key = await activeKey(ledger, authenticator, caller, req);
  return key instanceof GatewayError ? key : undefined;
}

/**
 * 32 hex digits that nobody can guess, beginning with the time: ids that follow one another lie beside one another in the
 * ledger's indexes, so that a batch of them touches few pages.
 */
function nextHoldId(): string {
  const uuid = randomUUID();
  return `${Date.now().toString(16).padStart(12, "0")}${uuid.slice(14, 18)}${uuid.slice(19, 23)}${uuid.slice(24)}`;
}

interface Admitted {
  readonly hold: Hold | undefined;
  readonly upstreamKey: string | undefined;
}

/** A first-party call that nobody is billed for. */
const FREE: Admitted = { hold: undefined, upstreamKey: undefined };

type Idempotency = HoldRequest["idempotency"];

/** The key opens nothing. */
const REFUSED: ReadonlySet<HoldOutcome["outcome"]> = new Set(["unknown", "revoked", "expired"]);

async function admit(
  parts: KeyParts,
  visit: Visit,
  caller: Caller,
  sale: Sale,
  idempotency: Idempotency,
): Promise<Admitted | GatewayError | "answered"> {
  if (caller.payer === undefined) return FREE;
  const outcome = await parts.ledger.hold({
    id: nextHoldId(),
    payer: caller.payer,
    permission: permissionFor(visit.match.route),
    model: sale.model,
    provider: sale.provider,
    range: sale.range,
    ownKeyRange: ownKeyRange(parts, sale),
    leaseMs: parts.holdLeaseMs,
    idempotency,
  });
  if (REFUSED.has(outcome.outcome)) parts.authenticator.refused(visit.req, caller);
  else parts.authenticator.accepted(caller);
  if (outcome.outcome === "replay") return replay(visit, caller, outcome.response?.sealed);
  if (outcome.outcome !== "held") return refuseHold(outcome, caller);
  return open(parts, visit, outcome.hold, sale);
}

/** The customer's own key is opened before anything runs: without it the call would go out on the operator's. */
async function open(parts: KeyParts, visit: Visit, hold: Hold, sale: Sale): Promise<Admitted | GatewayError> {
  visit.account = hold.account;
  for (const [name, value] of rateHeaders(hold.rate)) visit.res.setHeader(name, value);
  const { providerKey } = hold;
  if (providerKey === undefined || sale.provider === undefined) return { hold, upstreamKey: undefined };
  const upstreamKey = parts.openProviderKey(hold.account, sale.provider, providerKey);
  if (upstreamKey !== undefined) return { hold, upstreamKey };
  const charge = createKeyCharge(parts.charges, keyedCall(parts, visit, "key", hold, sale));
  await endSoon(charge.release({ reason: "provider_key_unusable", by: "server", worked: false }));
  return new GatewayError("provider_key_unusable");
}

function run(
  parts: KeyParts,
  visit: Visit,
  caller: Caller,
  admitted: Admitted & { readonly sale: Sale; readonly body: Buffer },
  idempotency: Idempotency,
): Promise<GatewayError | undefined> {
  const { sale, body, hold, upstreamKey } = admitted;
  const answerKey = idempotency !== undefined && parts.keepResponses ? caller.answerKey() : undefined;
  const call = keyedCall(parts, visit, caller.tier, hold, sale, answerKey, idempotency);
  const charge = createKeyCharge(parts.charges, call);
  visit.charge = charge;
  return parts.deliveries.deliver(visit, {
    sale,
    body,
    charge,
    // A customer's own key bears the upstream's price, so the hold (a fee) is no budget for it.
    budget: upstreamKey === undefined ? hold?.amount : undefined,
    upstreamKey,
    keeps: answerKey !== undefined,
    timeoutMs: parts.callTimeoutMs,
  });
}

function keyedCall(
  parts: KeyParts,
  visit: Visit,
  tier: "key" | "jwt",
  hold: Hold | undefined,
  sale: Sale,
  answerKey?: Buffer,
  idempotency?: Idempotency,
): KeyedCall {
  const { route } = visit.match;
  return {
    tier,
    hold,
    sale,
    route: `${route.method} ${route.path}`,
    costOf: hold?.providerKey === undefined ? (metered: MicroUsd) => metered : parts.ownKeyFee,
    answerKey,
    idempotency,
    facts: () => ({ status: visit.res.statusCode, ms: performance.now() - visit.started }),
  };
}

function replay(visit: Visit, caller: Caller, sealed: Uint8Array | undefined): GatewayError | "answered" {
  const key = caller.answerKey();
  const response = sealed === undefined || key === undefined ? undefined : openResponse(sealed, [key]);
  if (response === undefined) return new GatewayError("idempotent_answer_not_stored");
  writeStored(visit.res, response, { "Idempotent-Replayed": "true" });
  return "answered";
}

/**
 * The fee of the most that the call can come to, and no less: on the customer's own key the output is not clamped to what was held. Undefined:
 * no own key is used, also none that was stored when it still was.
 */
function ownKeyRange(
  { ownKeyProviders, ownKeyFee }: KeyParts,
  { provider, range }: Sale,
): HoldRange | undefined {
  if (provider === undefined || !ownKeyProviders.has(provider)) return undefined;
  const fee = ownKeyFee(range.most);
  return { most: fee, least: fee };
}

/** A route that is neither chat nor embeddings is something the agent's permission is for: a key for chat must not reach it. */
function permissionFor({ target }: Route): Permission {
  if (target.kind !== "openai") return "agent:run";
  return target.endpoint === "chat" ? "chat:read" : "embeddings:read";
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

function readIdempotency({ req, match }: Visit, body: Buffer): Idempotency | GatewayError {
  const key = req.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key !== "string" || !IDEMPOTENCY_KEY.test(key)) {
    return new GatewayError("invalid_request", {
      message: "`Idempotency-Key` must be 1 to 255 printable ASCII characters without spaces.",
    });
  }
  const { route, path } = match;
  const call = { method: route.method, path, query: queryOf(req.url), body };
  return { hash: hash("sha256", key, "hex"), fingerprint: fingerprint(call) };
}
