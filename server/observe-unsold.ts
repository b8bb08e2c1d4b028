import type { IncomingMessage, ServerResponse } from "node:http";
import { type Logger, requestLine } from "./log.ts";
import { formatUsd } from "./money.ts";
import { pathOf } from "./route-table.ts";

/** A load balancer asks every second or so, for ever. */
const PROBES: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);
/** Below these a request may be refused before there is a pattern; what follows the name may be an id. */
const MOUNTS = /^\/(?:account|auth|console)(?=\/|$)/i;
const NO_ROUTE = "-";
const FREE = formatUsd(0n);

/**
 * Writes the line of each request for something that is not sold: documents, accounts, the console, 404, a preflight. Those
 * of health checks are at level debug. What sold requests leave behind is observe-payments.ts's.
 */
export function observeUnsold(log: Logger): (req: IncomingMessage, res: ServerResponse) => void {
  return (req, res) => {
    const started = performance.now();
    res.once("close", () => {
      const line = {
        method: req.method ?? "GET",
        route: routeOf(req),
        tier: "none",
        price: FREE,
        status: res.statusCode,
        ms: Math.round((performance.now() - started) * 100) / 100,
      };
      if (PROBES.has(line.route)) log.debug(line);
      else requestLine(log, line);
    });
  };
}

/** The pattern that Express found, else the mount; never the path that was asked for, in which a secret may stand. */
function routeOf(req: IncomingMessage): string {
  const asked = pathOf(req)?.toLowerCase() ?? "";
  const route: unknown = "route" in req ? req.route : undefined;
  const path = typeof route === "object" && route !== null && "path" in route ? route.path : undefined;
  if (typeof path === "string") return path;
  if (Array.isArray(path)) return path.find((each) => each === asked.replace(/\/$/, "")) ?? NO_ROUTE;
  const mount = MOUNTS.exec(asked)?.[0];
  return mount === undefined ? NO_ROUTE : `${mount}/*`;
}
