import type { IncomingMessage, ServerResponse } from "node:http";
import { answerPreflight, setCorsHeaders } from "../cors.ts";
import { type ErrorCode, GatewayError } from "../errors.ts";
import type { RouteMatch } from "../route-table.ts";
import type { Tier } from "../routes.ts";
import type { ArrivedPayment, PaymentReader } from "./arrived-payment.ts";
import type { Challenges } from "./challenge.ts";
import type { Charge } from "./charge.ts";
import { Gate, type GateOptions } from "./gate.ts";
import { type OpenPaymentParts, openPayment } from "./open-payment.ts";
import { readBody } from "./read-body.ts";
import { createTurns } from "./turns.ts";
import { writeChallenge, writeError, writeStored } from "./write-answer.ts";

/** A request whose charge is open: run it, and write the answer to `res` as if nobody were in between. */
export interface PaidCall {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly body: Buffer;
  readonly charge: Charge;
  readonly gate: Gate;
}

/**
 * What is sold behind the paywall. It checks the request before anything is claimed, so a bad one is refused and costs
 * nothing; a good one yields what is to be run once the charge is open.
 */
export type Seller = (
  req: IncomingMessage,
  body: Buffer,
) => GatewayError | ((call: PaidCall) => void | Promise<void>);

/** One line of the request log, and one observation of the metrics. */
export interface RequestFacts {
  readonly route: string;
  readonly tier: Tier | "none";
  readonly price: bigint;
  readonly status: number;
  readonly ms: number;
  readonly code: ErrorCode | undefined;
  readonly payer: string | undefined;
  readonly transaction: string | undefined;
}

export interface PaywallParts {
  readonly challenges: Challenges;
  readonly reader: PaymentReader;
  readonly payments: OpenPaymentParts;
  readonly gate: Pick<GateOptions, "streamingTypes" | "gateBytes" | "keepBytes">;
  readonly bodyLimitBytes: number;
  readonly observe: (facts: RequestFacts) => void;
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

/** What is learnt of a request on its way, for its log line. */
interface Trace {
  tier: Tier | "none";
  code: ErrorCode | undefined;
  payer: string | undefined;
  charge: Charge | undefined;
}

/** Payments are checked for this long in one turn of the event loop. */
const TURN_MS = 1.5;

const PIPELINED = new GatewayError("invalid_request", {
  message: "A paid request must not be sent before the answer to the one before it on the same connection.",
  headers: { Connection: "close" },
});

/** Conditional requests would turn a paid answer into an empty 304. */
const CONDITIONAL = ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"];

/** Picks the tier of each request (design: section 6) and takes it through its charge. */
export function createPaywall(parts: PaywallParts): Paywall {
  const { challenges, reader, observe } = parts;
  const gates = new Set<Gate>();
  const turns = createTurns(TURN_MS);

  function handle(req: IncomingMessage, res: ServerResponse, match: RouteMatch, seller: Seller): void {
    const started = performance.now();
    const trace: Trace = { tier: "none", code: undefined, payer: undefined, charge: undefined };
    const { headers } = req;
    const asked = headers["access-control-request-method"];
    if (req.method === "OPTIONS" && asked !== undefined && /^[A-Z-]+$/.test(asked)) {
      // The browser's question, not the call: what is sold here includes OPTIONS itself.
      answerPreflight(res, [asked]);
      return;
    }
    if (reader.carries(headers)) {
      trace.tier = "x402";
      res.once("close", () => report(res, match, trace, started));
      const pay = () => payByWallet(req, res, match, seller, trace);
      turns.run(
        () =>
          void pay().catch((error: unknown) => {
            // A middleware before us failed while an answer of our own left.
            parts.onFault(error);
            res.destroy();
          }),
      );
      return;
    }
    const { authorization } = headers;
    const error = authorization === undefined ? undefined : refuseCredential(match, authorization);
    trace.code = error === undefined ? ask(res, match) : refuse(res, match, error);
    report(res, match, trace, started);
  }

  async function payByWallet(
    req: IncomingMessage,
    res: ServerResponse,
    match: RouteMatch,
    seller: Seller,
    trace: Trace,
  ): Promise<void> {
    try {
      const error = await serve(req, res, match, seller, trace);
      if (error !== undefined) trace.code = refuse(res, match, error);
    } catch (cause) {
      // Only the ledger rejects (LedgerFault): nothing was served, and what was claimed is decided by its lease.
      parts.onFault(cause);
      const unavailable = new GatewayError("ledger_unavailable", { cause, retryAfterSeconds: 2 });
      trace.code = refuse(res, match, unavailable);
    }
  }

  async function serve(
    req: IncomingMessage,
    res: ServerResponse,
    match: RouteMatch,
    seller: Seller,
    trace: Trace,
  ): Promise<GatewayError | undefined> {
    // Node tells a response that waits behind another on its connection neither that it finished nor that the client left.
    if (res.socket === null) return PIPELINED;
    if (req.method === "HEAD")
      return new GatewayError("method_not_allowed", { headers: { Allow: match.route.method } });
    if (!match.route.tiers.includes("x402")) return new GatewayError("tier_not_accepted");
    const payment = reader.read(req.headers, match);
    if (payment instanceof GatewayError) return payment;
    trace.payer = payment.transfer.payer;
    const body = await readBody(req, parts.bodyLimitBytes);
    if (body instanceof GatewayError) return body;
    const run = check(seller, req, body);
    if (run instanceof GatewayError) return run;
    const opening = await open(req, res, match, payment, body);
    if (opening.kind === "error") return opening.error;
    if (opening.kind === "replay") {
      writeStored(res, opening.response, opening.proof);
      return undefined;
    }
    trace.charge = opening.charge;
    return deliver(req, res, match, run, body, opening.charge, trace);
  }

  /** The check is the seller's code and may throw; nothing is claimed yet. */
  function check(seller: Seller, req: IncomingMessage, body: Buffer): ReturnType<Seller> {
    try {
      return seller(req, body);
    } catch (cause) {
      parts.onFault(cause);
      return new GatewayError("internal_error", { cause });
    }
  }

  async function open(
    req: IncomingMessage,
    res: ServerResponse,
    match: RouteMatch,
    payment: ArrivedPayment,
    body: Buffer,
  ): ReturnType<typeof openPayment> {
    const left = new AbortController();
    const onClose = (): void => left.abort();
    res.once("close", onClose);
    const url = req.url ?? "/";
    const start = url.indexOf("?");
    const query = start === -1 ? "" : url.slice(start);
    const { route, path } = match;
    try {
      return await openPayment(parts.payments, payment, {
        route,
        method: route.method,
        path,
        query,
        body,
        signal: left.signal,
      });
    } finally {
      res.off("close", onClose);
    }
  }

  async function deliver(
    req: IncomingMessage,
    res: ServerResponse,
    match: RouteMatch,
    run: (call: PaidCall) => void | Promise<void>,
    body: Buffer,
    charge: Charge,
    trace: Trace,
  ): Promise<GatewayError | undefined> {
    if (charge.upfront) {
      const orphan = (): void => charge.orphan();
      res.once("close", orphan);
      const settled = await charge.settle(() => res.closed);
      res.off("close", orphan);
      if (settled.outcome === "failed") return settled.error;
    }
    if (res.closed) {
      if (charge.settling) await charge.capture({ delivered: false, response: undefined });
      else await charge.release({ reason: "client_left", by: "client", worked: false });
      return undefined;
    }
    if (req.headers["if-range"] !== undefined) delete req.headers.range;
    for (const name of CONDITIONAL) delete req.headers[name];
    setCorsHeaders(res);
    const gate = new Gate(req, res, charge, {
      ...parts.gate,
      now: parts.payments.now,
      answer: (error) => {
        trace.code = refuse(res, match, error);
      },
      over: () => gates.delete(gate),
    });
    gates.add(gate);
    try {
      await run({ req, res, body, charge, gate });
    } catch (error) {
      parts.onFault(error);
      // Through the gate: an answer of 500 releases the charge.
      if (!res.headersSent) writeError(res, match.route.dialect, new GatewayError("internal_error"));
      else if (!res.writableEnded) res.destroy();
    }
    return undefined;
  }

  function report(res: ServerResponse, match: RouteMatch, trace: Trace, started: number): void {
    const { route } = match;
    observe({
      route: `${route.method} ${route.path}`,
      tier: trace.tier,
      price: route.price,
      status: res.statusCode,
      ms: performance.now() - started,
      code: trace.code,
      payer: trace.payer,
      transaction: trace.charge?.receipt.transaction,
    });
  }

  /** The hottest path: no credentials, so terms are all there is to say. */
  function ask(res: ServerResponse, match: RouteMatch): ErrorCode {
    const challenge = challenges.make(match.route, match.path);
    if (challenge === undefined) return refuse(res, match, new GatewayError("payment_required"));
    writeChallenge(res, challenge);
    return "payment_required";
  }

  function refuse(res: ServerResponse, match: RouteMatch, error: GatewayError): ErrorCode {
    if (res.headersSent || res.closed) return error.code;
    const challenge = error.status === 402 ? challenges.make(match.route, match.path, error.code) : undefined;
    if (error.status === 402 && challenge === undefined) {
      return refuse(res, match, new GatewayError("terms_unavailable", { retryAfterSeconds: 2 }));
    }
    if (challenge === undefined) writeError(res, match.route.dialect, error);
    else writeChallenge(res, challenge);
    return error.code;
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
      return gates.size;
    },
    cutOff() {
      for (const gate of gates) gate.cutOff();
    },
  };
}

function refuseCredential(match: RouteMatch, authorization: string): GatewayError | undefined {
  if (!/^bearer\b/i.test(authorization)) return undefined;
  const sold = match.route.tiers.some((tier) => tier !== "x402");
  return new GatewayError(sold ? "invalid_api_key" : "tier_not_accepted", {
    headers: { "WWW-Authenticate": "Bearer" },
  });
}
