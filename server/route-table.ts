import type { IncomingMessage } from "node:http";
import parseurl from "parseurl";
import { match } from "path-to-regexp";
import type { Route } from "./routes.ts";

/** A priced route that a request met. `path` is the request's own path, to which the payment is bound. */
export interface RouteMatch {
  readonly route: Route;
  readonly path: string;
}

/**
 * Finds the priced route of a request by Express 5's own rules: `parseurl` for the path, `path-to-regexp` with Express's
 * defaults (any case, optional trailing slash). Two routers that disagree would serve unpaid, so both use the same parts;
 * HEAD is found under its GET, as Express does.
 */
export interface RouteTable {
  find(req: IncomingMessage): RouteMatch | undefined;
  /** Methods that are sold at this request's path, for `Allow` and preflights; empty if none. */
  methods(req: IncomingMessage): readonly string[];
}

interface Compiled {
  readonly route: Route;
  readonly test: (path: string) => boolean;
}

export function createRouteTable(routes: readonly Route[]): RouteTable {
  const exact = new Map<string, Compiled[]>();
  const compiled: Compiled[] = routes.map((route) => ({ route, test: compile(route.path) }));
  for (const entry of compiled) {
    if (/^[\w/.-]+$/.test(entry.route.path)) {
      exact.set(entry.route.path, [...(exact.get(entry.route.path) ?? []), entry]);
    }
  }

  function find(req: IncomingMessage): RouteMatch | undefined {
    const { method = "GET", url = "/" } = req;
    const direct = exact.get(url)?.find((entry) => accepts(entry.route, method));
    if (direct !== undefined) return { route: direct.route, path: url };
    const path = pathOf(req);
    if (path === undefined) return undefined;
    const found = compiled.find((entry) => accepts(entry.route, method) && entry.test(path));
    return found === undefined ? undefined : { route: found.route, path };
  }

  function methods(req: IncomingMessage): readonly string[] {
    const path = pathOf(req);
    if (path === undefined) return [];
    const found = compiled.filter((entry) => entry.test(path)).map((entry) => entry.route.method);
    return [...new Set(found)];
  }

  return { find, methods };
}

/** The path as Express sees it: absolute-form targets, `#` and `?` are cut by the same parser. */
function pathOf(req: IncomingMessage): string | undefined {
  try {
    return parseurl(req)?.pathname ?? undefined;
  } catch {
    return undefined;
  }
}

function compile(path: string): (path: string) => boolean {
  // `decode: false`: a malformed %-sequence must still match, as the bytes do.
  const matcher = match(path, { decode: false, sensitive: false, end: true, trailing: true });
  return (candidate) => matcher(candidate) !== false;
}

function accepts(route: Route, method: string): boolean {
  return route.method === method || route.method === "*" || (method === "HEAD" && route.method === "GET");
}
