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
 * defaults (any case, optional trailing slash); HEAD is found under its GET. Two routers that disagree would serve unpaid, so
 * where whatever is behind us may read a path in another way (mounted routers, `%61`, `//`, `;x`), the dearest reading counts.
 */
export interface RouteTable {
  /** Undefined also for a target that {@link pathOf} refuses: the caller must not let such a request pass. */
  find(req: IncomingMessage): RouteMatch | undefined;
  /** Methods that are sold at this request's path, for `Allow` and preflights; empty if none. */
  methods(req: IncomingMessage): readonly string[];
}

interface Compiled {
  readonly route: Route;
  readonly test: (path: string) => boolean;
}

/**
 * Throws an Error if two routes of one method differ only in case or in a trailing slash (who is meant depends on the app), or if a
 * route is never reached, since one before it takes all its paths: it would be sold at that one's price.
 */
export function createRouteTable(routes: readonly Route[]): RouteTable {
  refuseAmbiguous(routes);
  refuseUnreachable(routes);
  const compiled: Compiled[] = routes.map((route) => ({ route, test: compile(route.path) }));
  const exact = new Map<string, readonly Compiled[]>();
  for (const { path } of routes) {
    if (/^(?:\/[\w.-]+)+$/.test(path)) {
      exact.set(
        path,
        compiled.filter((entry) => entry.test(path)),
      );
    }
  }

  function first(method: string, path: string): Route | undefined {
    return compiled.find((entry) => accepts(entry.route, method) && entry.test(path))?.route;
  }

  function find(req: IncomingMessage): RouteMatch | undefined {
    const { method = "GET", url = "/" } = req;
    const direct = exact.get(url)?.find((entry) => accepts(entry.route, method));
    if (direct !== undefined) return { route: direct.route, path: url };
    const path = pathOf(req);
    if (path === undefined) return undefined;
    const route = dearer(
      first(method, path),
      lenient(path, (reading) => first(method, reading)),
    );
    return route === undefined ? undefined : { route, path };
  }

  function methods(req: IncomingMessage): readonly string[] {
    const path = pathOf(req);
    if (path === undefined) return [];
    const read = (reading: string) => compiled.filter((entry) => entry.test(reading));
    const found = [...read(path), ...(lenient(path, read) ?? [])];
    return [...new Set(found.map((entry) => entry.route.method))];
  }

  return { find, methods };
}

const TARGET = /^(?:https?:\/\/(?:[\w.-]+|\[[\da-f:.]+\])(?::\d*)?(?=\/))?(\/[^?#]*)(?:\?[^#]*)?$/i;

/**
 * The path as Express sees it, without the query. Undefined for a target that it could read in two ways: Express parses a
 * fragment and an odd absolute form by rules that rewrite characters, but cuts mount paths off the raw text, so a mounted
 * router would be asked for another path than the one that was priced (`/t/"/x/report#` is served as `/t/…/report`).
 */
export function pathOf(req: IncomingMessage): string | undefined {
  const { url = "/" } = req;
  if (url === "*") return url;
  const [, written] = TARGET.exec(url) ?? [];
  if (written === undefined) return undefined;
  try {
    return parseurl(req)?.pathname === written ? written : undefined;
  } catch {
    return undefined;
  }
}

/** Both spellings, since Express cuts a pattern's trailing slashes unless its routing is strict. */
function compile(path: string): (path: string) => boolean {
  const loose = path === "/" ? path : path.replace(/\/+$/, "");
  // `decode: false`: a malformed %-sequence must still match, as the bytes do.
  const matcher = match([loose, path], { decode: false, sensitive: false, end: true, trailing: true });
  return (candidate) => matcher(candidate) !== false;
}

function accepts(route: Route, method: string): boolean {
  return route.method === method || (method === "HEAD" && route.method === "GET");
}

/** What the reading of the most lenient server leads to: ASCII decoded, `;parameters` cut, slashes squeezed. */
function lenient<T>(path: string, read: (reading: string) => T): T | undefined {
  if (!/%|;|\/\//.test(path)) return undefined;
  const decoded = path.replace(/%([2-7][\da-f])/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return read(decoded.replace(/;[^/]*/g, "").replace(/\/{2,}/g, "/"));
}

function dearer(one: Route | undefined, other: Route | undefined): Route | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.price > one.price ? other : one;
}

function refuseAmbiguous(routes: readonly Route[]): void {
  const seen = new Map<string, string>();
  for (const { method, path } of routes) {
    const key = `${method} ${path.replace(/(?<=.)\/+$/, "").toLowerCase()}`;
    const earlier = seen.get(key);
    if (earlier !== undefined) throw new Error(`"${method} ${path}" is the same route as "${earlier}"`);
    seen.set(key, `${method} ${path}`);
  }
}

function refuseUnreachable(routes: readonly Route[]): void {
  for (const [index, route] of routes.entries()) {
    const before = takenBy(route, routes.slice(0, index));
    if (before === undefined) continue;
    const [name, earlier] = [route, before].map(({ method, path }) => `"${method} ${path}"`);
    throw new Error(`${name} is never reached: ${earlier} comes first and takes its paths`);
  }
}

/** The route of these that takes every path of this one. */
export function takenBy({ method, path }: Route, earlier: readonly Route[]): Route | undefined {
  const samples = [path.replace(/\{[^{}]*\}/g, ""), path.replace(/[{}]/g, "")].map((pattern) =>
    pattern.replace(/([:*])(?:"[^"]*"|[\p{ID_Start}$_][\p{ID_Continue}$]*)/gu, (_, kind: string) =>
      kind === ":" ? "~1" : "~1/~2",
    ),
  );
  return earlier.find((route) => {
    if (route.method !== method) return false;
    const test = compile(route.path);
    return samples.every((sample) => test(sample === "" ? "/" : sample));
  });
}
