import type { IncomingMessage, ServerResponse } from "node:http";
import { isBearer, wrongTier } from "../auth/credential.ts";
import { answerPreflight } from "../cors.ts";
import { type ErrorCode, GatewayError } from "../errors.ts";
import type { RouteMatch } from "../route-table.ts";
import type { Tier } from "../routes.ts";
import { createTogether } from "../together.ts";
import { createHeldBackTurns, createTurns } from "../turns.ts";
import type { PaymentReader } from "./arrived-payment.ts";
import { buyCredit, type CreditDesk, type CreditParts } from "./buy-credit.ts";
import type { Challenges } from "./challenge.ts";
import { createDeliveries } from "./deliver.ts";
import type { GateOptions } from "./gate.ts";
import type { OpenPaymentParts } from "./opening.ts";
import { type KeyParts, payByKey } from "./pay-by-key.ts";
import { payByWallet, type WalletParts } from "./pay-by-wallet.ts";
import { createPricedRoutes } from "./priced-route.ts";
import { readBody } from "./read-body.ts";
import { isIntercepted } from "./response-methods.ts";
import type { Sale, Seller } from "./sale.ts";
import { beginVisit, type Visit } from "./visit.ts";
import { writeChallenge, writeError, writeRefusal } from "./write-answer.ts";

/** One line of the request log, and one observation of the metrics. */
export interface RequestFacts {
  readonly method: string;
  /** The route's pattern. */
  readonly path: string;
  readonly tier: Tier | "none";
  readonly price: bigint;
  readonly status: number;
  readonly ms: number;
  readonly code: ErrorCode | undefined;
  readonly payer: string | undefined;
  readonly account: string | undefined;
  readonly transaction: string | undefined;
  readonly heldBack: boolean;
}

export interface PaywallParts {
  readonly challenges: Challenges;
  readonly reader: PaymentReader;
  readonly payments: OpenPaymentParts;
  /** Undefined: no credentials are accepted, wallets only. */
  readonly keys: Omit<KeyParts, "check" | "deliveries" | "bodyLimitBytes" | "keepResponses"> | undefined;
  /** Undefined: no credit is sold. */
  readonly desk: CreditDesk | undefined;
  readonly gate: Pick<GateOptions, "streamingTypes" | "gateBytes" | "keepBytes">;
  readonly bodyLimitBytes: number;
  readonly clientAddress: (req: IncomingMessage) => string;
  /** Whether a call's price depends on its body. */
  readonly isQuoted: (match: RouteMatch) => boolean;
  /** The facilitator settles nothing smaller, MicroUsd. */
  readonly minimumPayment: bigint;
  readonly observe: (facts: RequestFacts) => void;
  /** A call that a wallet paid for is over. */
  readonly onWalletCall: WalletParts["onEnd"];
  readonly usageOf: WalletParts["usage"];
  readonly onFault: (error: unknown) => void;
}

export interface Paywall {
  /** Answers 402, or an error, or opens the charge and runs the seller. Never throws. */
  handle(req: IncomingMessage, res: ServerResponse, match: RouteMatch, seller: Seller): void;
  /** Answers a CORS preflight of a priced path. */
  preflight(res: ServerResponse, methods: readonly string[]): void;
  /** Answers 400 to a request target that two routers could read in two ways (route-table.ts, `pathOf`). */
  refuseTarget(res: ServerResponse): void;
  /** Calls that hold an open gate now. */
  readonly active: number;
  /** Ends what streams and refuses what has not begun: the server is stopping. */
  cutOff(): void;
}

/** Payments are checked for this long in one turn of the event loop. */
const TURN_MS = 1.5;
/** How long those that are held back wait when as many wait as may. */
const RETRY_HELD_BACK_SECONDS = 10;

/** Picks the tier of each request (design: section 6); pay-by-wallet.ts and pay-by-key.ts take it through its charge. */
export function createPaywall(parts: PaywallParts): Paywall {
  const { challenges, reader, observe, bodyLimitBytes } = parts;
  const turns = createTurns({ budgetMs: TURN_MS });
  const heldBack = createHeldBackTurns();
  const together = createTogether();
  const priced = createPricedRoutes(parts.minimumPayment);
  const deliveries = createDeliveries({
    gate: parts.gate,
    now: parts.payments.now,
    refuse,
    onFault: parts.onFault,
  });
  const wallet: WalletParts = {
    reader,
    payments: parts.payments,
    bodyLimitBytes,
    isQuoted: parts.isQuoted,
    priced,
    check,
    deliveries,
    usage: parts.usageOf,
    onEnd: parts.onWalletCall,
  };
  const credits: CreditParts | undefined = parts.desk && { ...wallet, desk: parts.desk };
  const keys: KeyParts | undefined = parts.keys && {
    ...parts.keys,
    bodyLimitBytes,
    keepResponses: parts.gate.keepBytes > 0,
    check,
    deliveries,
  };

  function showsCredential({ authorization }: IncomingMessage["headers"]): boolean {
    return parts.keys?.authenticator.isShown(authorization) ?? isBearer(authorization);
  }

  function handle(req: IncomingMessage, res: ServerResponse, match: RouteMatch, seller: Seller): void {
    const { headers } = req;
    const asked = headers["access-control-request-method"];
    if (req.method === "OPTIONS" && asked !== undefined && /^[A-Z-]+$/.test(asked)) {
      // The browser's question, not the call: what is sold here includes OPTIONS itself.
      answerPreflight(res, [asked]);
      return;
    }
    const visit = beginVisit(req, res, match, seller);
    if (isIntercepted(res)) {
      const cause = new Error(
        `${match.route.method} ${match.path} is behind two paywalls: nothing is sold twice.`,
      );
      parts.onFault(cause);
      refuse(visit, new GatewayError("internal_error", { cause }));
      return;
    }
    const desk = match.route.target.kind === "credit" ? credits : undefined;
    if (reader.carries(headers)) {
      visit.tier = "x402";
      visit.paysFrom = parts.clientAddress(req);
      res.once("close", () => report(visit));
      visit.heldBack = parts.payments.refusals.isSuspect(visit.paysFrom);
      const taken = (visit.heldBack ? heldBack : turns).run(() => {
        // Nothing is claimed yet, so whoever has left while it was held back has lost nothing.
        if (res.closed) return false;
        follow(visit, desk === undefined ? payByWallet(wallet, visit) : buyCredit(desk, visit));
        return true;
      });
      if (!taken) answer(visit, () => refuse(visit, notLookedAt()));
    } else if (desk !== undefined) {
      res.once("close", () => report(visit));
      follow(visit, buyCredit(desk, visit));
    } else if (showsCredential(headers) || !match.route.tiers.includes("x402")) {
      res.once("close", () => report(visit));
      follow(visit, keys === undefined ? noCredentials() : payByKey(keys, visit));
    } else if (parts.isQuoted(match)) {
      res.once("close", () => report(visit));
      follow(visit, quote(visit));
    } else {
      ask(visit);
    }
  }

  /** With the others of this turn, whom nothing that fails here may keep: a middleware before us may, while an answer of our own leaves. */
  function answer(visit: Visit, write: () => void, after?: () => void): void {
    const guarded = (step: () => void) => (): void => {
      try {
        step();
      } catch (error) {
        parts.onFault(error);
        visit.res.destroy();
      }
    };
    together(guarded(write), after && guarded(after));
  }

  /** Answers what is left to be answered. */
  function follow(visit: Visit, paying: Promise<GatewayError | undefined>): void {
    const conclude = (error: GatewayError | undefined): void => {
      if (error !== undefined) answer(visit, () => refuse(visit, error));
    };
    paying.then(conclude, (cause: unknown) => {
      // The ledger rejects (LedgerFault): nothing was served, and what was claimed is decided by its lease. Or a signature could not
      // be checked: the same payment may be sent again.
      parts.onFault(cause);
      conclude(new GatewayError("ledger_unavailable", { cause, retryAfterSeconds: 2 }));
    });
  }

  /** What this very request costs; the flat price if it cannot be read. */
  async function quote(visit: Visit): Promise<GatewayError> {
    const body = await readBody(visit.req, bodyLimitBytes);
    const sale = body instanceof GatewayError || body.length === 0 ? undefined : check(visit, body);
    if (sale !== undefined && !(sale instanceof GatewayError)) visit.match = priced(visit.match, sale);
    return new GatewayError("payment_required");
  }

  /** The check is the seller's code and may throw; nothing is claimed yet. */
  function check(visit: Visit, body: Buffer): GatewayError | Sale {
    try {
      return visit.seller(visit.req, body);
    } catch (cause) {
      parts.onFault(cause);
      return new GatewayError("internal_error", { cause });
    }
  }

  function report(visit: Visit): void {
    const { res, match, tier, code, payer, account, charge, started, heldBack } = visit;
    const { route } = match;
    observe({
      method: route.method,
      path: route.path,
      tier,
      price: charge?.amount ?? route.price,
      status: res.statusCode,
      ms: performance.now() - started,
      code,
      payer,
      account,
      transaction: charge?.receipt.transaction,
      heldBack,
    });
  }

  /** The hottest path: no credentials, so terms are all there is to say. */
  function ask(visit: Visit): void {
    const { res, match } = visit;
    const { route, path } = match;
    const challenge = challenges.make(route, path);
    if (challenge === undefined) {
      res.once("close", () => report(visit));
      answer(visit, () => refuse(visit, new GatewayError("payment_required")));
      return;
    }
    visit.code = "payment_required";
    answer(
      visit,
      () => writeChallenge(res, challenge),
      () => report(visit),
    );
  }

  function refuse(visit: Visit, error: GatewayError): void {
    const { res } = visit;
    visit.code = error.code;
    if (visit.paysFrom !== "" && isClientsDoing(error)) parts.payments.refusals.bogus(visit.paysFrom);
    if (res.headersSent || res.closed) return;
    // What this very request costs, once that is known.
    const { route, path } = visit.sale === undefined ? visit.match : priced(visit.match, visit.sale);
    const sellsByCall = error.status === 402 && route.tiers.includes("x402");
    const challenge = sellsByCall ? challenges.make(route, path, error.code) : undefined;
    const keyed = visit.tier === "key" || visit.tier === "jwt";
    if (keyed) {
      // In the dialect that the caller's SDK reads; by wallet this one call can be paid all the same.
      writeRefusal(res, route.dialect, error, challenge);
    } else if (error.status !== 402) {
      writeError(res, route.dialect, error);
    } else if (challenge !== undefined) {
      writeChallenge(res, challenge);
    } else {
      const unavailable = new GatewayError("terms_unavailable", { retryAfterSeconds: 2 });
      visit.code = unavailable.code;
      writeError(res, route.dialect, unavailable);
    }
  }

  return {
    handle,
    preflight: answerPreflight,
    refuseTarget(res) {
      const message =
        "The request target is not one that can be priced: write an absolute path without a fragment.";
      writeError(res, "openai", new GatewayError("invalid_request", { message }));
    },
    get active() {
      return deliveries.active;
    },
    cutOff: deliveries.cutOff,
  };
}

/** Whatever comes of it, it cost us the check of a signature. What may be sent again as it is, later, is nobody's fault. */
function isClientsDoing({ status, headers }: GatewayError): boolean {
  return status < 500 && headers["Retry-After"] === undefined;
}

/** It may be the retry of what is paid. */
function notLookedAt(): GatewayError {
  return new GatewayError("too_many_refused_payments", {
    message:
      "Too many payments from this address were refused. Wait, then send the same payment again: it was not looked at.",
    retryAfterSeconds: RETRY_HELD_BACK_SECONDS,
  });
}

async function noCredentials(): Promise<GatewayError> {
  return wrongTier();
}
