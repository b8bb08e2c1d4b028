import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { GatewayError } from "./errors.ts";
import { formatUsd } from "./money.ts";
import type { Paywall } from "./payment/paywall.ts";
import type { PaidCall, Sale, SaleReading, Seller } from "./payment/sale.ts";
import type { UpstreamProxy } from "./proxy/proxy.ts";
import type { Prepared, ProxyCall, ReadableMeter, Reading } from "./proxy/proxy-call.ts";
import { createRouteTable, pathOf } from "./route-table.ts";
import type { Route } from "./routes.ts";
import { answerConnectionFaults, limitServer, nodeLimits, type ServerLimits } from "./server-limits.ts";

export interface GatewayParts {
  readonly limits: ServerLimits;
  readonly routes: readonly Route[];
  readonly paywall: Paywall;
  readonly proxy: UpstreamProxy;
  /** Everything that is not priced: discovery, health, 404. */
  readonly app: RequestListener;
  /** Told of each request that is not for a priced route, before it is answered. */
  readonly onUnsold: (req: IncomingMessage, res: ServerResponse) => void;
}

/** The whole way of a request, on one screen: a preflight, a priced route behind the paywall, or the Express app. */
export function createGateway(parts: GatewayParts): Server {
  const { paywall, proxy, app, limits, onUnsold } = parts;
  const table = createRouteTable(parts.routes);

  const server = createServer(nodeLimits(limits), (req, res) => {
    faults.arrived(req, res);
    const match = table.find(req);
    if (match !== undefined) {
      paywall.handle(req, res, match, forward(proxy, match.route));
      return;
    }
    onUnsold(req, res);
    const methods = req.method === "OPTIONS" ? table.methods(req) : [];
    if (pathOf(req) === undefined) paywall.refuseTarget(res);
    else if (methods.length > 0) paywall.preflight(res, methods);
    else app(req, res);
  });
  const faults = answerConnectionFaults(server);
  limitServer(server, limits);
  return server;
}

/** Sells what an upstream answers. */
function forward(proxy: UpstreamProxy, route: Route): Seller {
  return (req, body) => {
    const prepared = proxy.prepare(route, req.method ?? "GET", req.url ?? "/", req.headers, body);
    if (prepared instanceof GatewayError) return prepared;
    return sell(proxy, route, prepared);
  };
}

function sell(proxy: UpstreamProxy, route: Route, prepared: Prepared): Sale {
  const meter = prepared.quote.meter();
  return {
    model: prepared.model,
    provider: prepared.provider,
    range: prepared.quote.range,
    read: async () => saleReading(await meter.read()),
    reported: () => saleReading(meter.reported()),
    run: (call) => proxy.run(prepared, proxyCall(call, route, meter)),
  };
}

function saleReading({ begun, upstreamStatus, usage, estimated, cost }: Reading): SaleReading {
  return {
    begun,
    upstreamStatus,
    estimated,
    cost,
    promptTokens: usage?.promptTokens,
    completionTokens: usage?.completionTokens,
  };
}

function proxyCall(call: PaidCall, route: Route, meter: ReadableMeter): ProxyCall {
  const { req, res, body, charge, gate, budget, upstreamKey } = call;
  /** A key is charged what the call came to; a wallet paid its price. */
  let amount = charge.amount;
  return {
    req,
    res,
    route,
    body,
    budget,
    upstreamKey,
    meter,
    signal: gate.signal,
    async settle() {
      if (charge.capturesFirst) amount = charge.costOf((await meter.read()).cost);
      return gate.settle();
    },
    chargeBeforeEnd: () => gate.chargeBeforeEnd(),
    endsItself: () => gate.endsItself(),
    breakOff: (error) => gate.breakOff(error),
    billing: () => ({
      tier: charge.tier,
      amount: formatUsd(amount),
      currency: "USD",
      transaction: charge.receipt.transaction ?? null,
      payer: charge.receipt.payer ?? null,
    }),
  };
}

/**
 * Stops without breaking a promise: no new connections, running calls get until `drainMs`, endless streams are then ended
 * cleanly, what has not begun is refused uncharged.
 */
export async function drain(server: Server, paywall: Paywall, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // `close` ends idle connections. One that is busy must not be kept alive after its answer, which may be half sent by now.
  server.keepAliveTimeout = 1;
  server.prependListener("request", (_req: IncomingMessage, res: ServerResponse) => {
    res.setHeader("Connection", "close");
  });
  const cut = setTimeout(() => paywall.cutOff(), drainMs);
  const force = setTimeout(() => server.closeAllConnections(), drainMs + 5_000);
  await closed;
  clearTimeout(cut);
  clearTimeout(force);
}
