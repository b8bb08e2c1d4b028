import { type IncomingMessage, METHODS, type ServerResponse } from "node:http";
import { setTimeout } from "node:timers/promises";
import parseurl from "parseurl";
import { GatewayError } from "./errors.ts";
import { createLogger, type Logger } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { parseUsd } from "./money.ts";
import { openPayments } from "./open-payments.ts";
import type { Paywall } from "./payment/paywall.ts";
import { flatSale, type Seller } from "./payment/sale.ts";
import { type PaywallOptions, readPaywallOptions } from "./paywall-options.ts";
import { createRouteTable, pathOf, type RouteTable } from "./route-table.ts";
import type { Route } from "./routes.ts";
import { checkSold, type SoldRoute, type SoldTable } from "./sold-route.ts";

export { GatewayError } from "./errors.ts";
export type { PaywallOptions } from "./paywall-options.ts";
export type { SoldRoute } from "./sold-route.ts";

/** A plain middleware: Express 5, or `(req, res, next)` of your own. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

export interface PaywallFactory {
  /** For one route: `app.post("/report", paywall({ price: "$0.02" }), handler)`. The documented form. */
  (route: SoldRoute): Middleware;
  /** For a table: `app.use(paywall({ routes: { "POST /report": { price: "$0.02" } } }))`. */
  (table: SoldTable): Middleware;
  /** Finishes what runs and closes the ledger. Stop your server first. */
  close(): Promise<void>;
}

/**
 * Opens a paywall for an app of your own. Throws an Error that lists everything wrong with the options, and rejects if the
 * ledger cannot be opened. Errors of the ledger at run time stop the process (`onFatal`, default: throw).
 */
export async function createPaywall(options: PaywallOptions): Promise<PaywallFactory> {
  const settings = readPaywallOptions(options);
  const log: Logger = createLogger({ level: options.logLevel ?? "info" });
  if (settings.network === "local") {
    const { rpcUrls, facilitators } = settings;
    log.warn(
      { rpcUrls, facilitators: facilitators.map(({ url }) => url) },
      "local mode: no real money moves. The chain is that of `npm start`, which must run; createPaywall starts none",
    );
  }
  const { payments, close } = await openPayments({
    settings,
    keyedTier: undefined,
    log,
    metrics: createMetrics(),
    onFatal:
      options.onFatal ??
      ((error) => {
        throw error;
      }),
  });

  const onInvalid = (error: unknown): void => log.error({ err: error }, "validate failed");

  function paywall(sold: SoldRoute | SoldTable): Middleware {
    checkSold(sold);
    return "routes" in sold ? sellTable(sold.routes) : sellOne(sold);
  }

  function sellOne(sold: SoldRoute): Middleware {
    const priced = new Map<string, Route>();
    const seller = sellerOf(sold, onInvalid);
    return (req, res, next) => {
      const method = req.method === "HEAD" ? "GET" : (req.method ?? "GET");
      const pattern = expressPattern(req, priced.size < MAX_PATTERNS);
      const path = originalPath(req);
      const key = `${method} ${pattern ?? "*"}`;
      const route = priced.get(key) ?? routeOf(sold, method, pattern ?? "/*path");
      priced.set(key, route);
      payments.paywall.handle(req, res, { route, path }, seller(next));
    };
  }

  function sellTable(routes: Readonly<Record<string, SoldRoute>>): Middleware {
    const sold = Object.entries(routes).flatMap(([name, entry]) => {
      const [method = "", path = ""] = name.split(/\s+/, 2);
      const seller = sellerOf(entry, onInvalid);
      const methods = method === "*" ? EVERY_METHOD : [method];
      return methods.map((each) => ({ route: routeOf(entry, each, path), seller }));
    });
    const sellers = new Map(sold.map(({ route, seller }) => [route, seller]));
    const table: RouteTable = createRouteTable(sold.map(({ route }) => route));
    return (req, res, next) => {
      const match = table.find(req);
      const seller = match && sellers.get(match.route);
      if (match === undefined || seller === undefined) return passUnsold(table, req, res, next);
      payments.paywall.handle(req, res, { ...match, path: originalPath(req) }, seller(next));
    };
  }

  function passUnsold(table: RouteTable, req: IncomingMessage, res: ServerResponse, next: () => void): void {
    const asks = req.method === "OPTIONS" && req.headers["access-control-request-method"] !== undefined;
    const methods = asks ? table.methods(req) : [];
    if (pathOf(req) === undefined) payments.paywall.refuseTarget(res);
    else if (methods.length > 0) payments.paywall.preflight(res, methods);
    else next();
  }

  return Object.assign(paywall, {
    async close() {
      await untilIdle(payments.paywall);
      await close();
    },
  });
}

/** What runs when a paywall closes may finish for this long; then it is cut off. */
const FINISH_MS = 5_000;
const IDLE_POLL_MS = 10;

/** Resolves when no call holds a gate, or too late. */
async function untilIdle(paywall: Paywall): Promise<void> {
  const deadline = performance.now() + FINISH_MS;
  while (paywall.active > 0 && performance.now() < deadline) await setTimeout(IDLE_POLL_MS);
}

/** `next` may return the handler's promise, as hand-written chains do: its rejection is the handler's failure. */
function sellerOf(sold: SoldRoute, onInvalid: (error: unknown) => void): (next: () => void) => Seller {
  const price = readPrice(sold);
  return (next) => (req, body) => {
    try {
      const problem = sold.validate?.(req, body);
      if (problem !== undefined) return new GatewayError("invalid_request", { message: problem });
    } catch (cause) {
      onInvalid(cause);
      return new GatewayError("internal_error", { cause });
    }
    return flatSale(price, () => next());
  };
}

function readPrice(sold: SoldRoute): bigint {
  const price = parseUsd(sold.price);
  if (price === undefined) throw new Error("paywall: the price was not checked");
  return price;
}

function routeOf(sold: SoldRoute, method: string, path: string): Route {
  return {
    method,
    path,
    price: readPrice(sold),
    tiers: ["x402"],
    settle: sold.settle ?? "after",
    dialect: sold.dialect ?? "openai",
    target: { kind: "handler" },
    description: (sold.description ?? `${method} ${path}`).slice(0, 500),
    mimeType: sold.mimeType ?? "application/json",
    tags: sold.tags ?? [],
    input: sold.input ?? { type: "object" },
    ...(sold.outputExample === undefined ? {} : { outputExample: sold.outputExample }),
  };
}

/** The path the caller asked for, also inside a mounted router. */
function originalPath(req: IncomingMessage): string {
  const target = "originalUrl" in req && typeof req.originalUrl === "string" ? req.originalUrl : req.url;
  // What any parser reads alike needs none.
  if (target !== undefined && /^\/[\w./-]*$/.test(target) && !target.startsWith("//")) return target;
  try {
    return parseurl.original(req)?.pathname ?? "/";
  } catch {
    return "/";
  }
}

/** HEAD is priced with its GET; CONNECT never reaches a handler. */
const EVERY_METHOD = METHODS.filter((method) => method !== "HEAD" && method !== "CONNECT");

/** A mount path with parameters makes as many base paths as callers can think of: after these, and for long ones, it is left out. */
const MAX_PATTERNS = 100;
const MAX_BASE_CHARS = 200;

/** Express's own pattern of the route, for the log and the bazaar; undefined outside Express. */
function expressPattern(req: IncomingMessage, withBase: boolean): string | undefined {
  const route: unknown = "route" in req ? req.route : undefined;
  const mounted = "baseUrl" in req && typeof req.baseUrl === "string" ? req.baseUrl : "";
  const base = withBase && mounted.length <= MAX_BASE_CHARS ? mounted : "";
  const path = typeof route === "object" && route !== null && "path" in route ? route.path : undefined;
  return typeof path === "string" ? base + path : undefined;
}
