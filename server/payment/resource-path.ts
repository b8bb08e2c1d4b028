import type { Route } from "../routes.ts";

/** A longer path of the caller's own making would push the header past what proxies accept. */
const MAX_PATH = 256;

/**
 * The path of what is paid for, as 402s and receipts name it: the request's own, without its query. Credit has one name however it
 * was asked for, since its receipt is written again from the record, which knows only the route.
 */
export function resourcePath(route: Pick<Route, "path" | "target">, path: string): string {
  return route.target.kind === "credit" || path.length > MAX_PATH ? route.path : path;
}
