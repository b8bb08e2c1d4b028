import type { MicroUsd } from "./money.ts";

/** A way to pay for a route, in the order in which the paywall looks (design: section 6). */
export type Tier = "x402" | "key" | "jwt";

/** The error shape of a mount: `openai` has a string code, `numeric` a code that mirrors the status. */
export type Dialect = "openai" | "numeric";

/** The dialect at a path that is no priced route, or whose route is not known; `undefined`: no path could be read. */
export function dialectOf(path: string | undefined): Dialect {
  return path !== undefined && /^\/api\/v1(?:\/|$)/i.test(path) ? "numeric" : "openai";
}

/** `upfront` settles before the handler runs, for upstreams that are dear to run. */
export type SettleMode = "after" | "upfront";

/** What answers a priced route once it is paid. `handler` = the next Express middleware (library use). */
export type Target =
  | { readonly kind: "agent" }
  | { readonly kind: "openai"; readonly endpoint: "chat" | "embeddings" }
  | { readonly kind: "forward"; readonly upstream: string }
  /** The payment itself, on an account; with a key to it if `key` is set. The price is what the request says. */
  | { readonly kind: "credit"; readonly key: boolean; readonly least: MicroUsd; readonly most: MicroUsd }
  | { readonly kind: "handler" };

/**
 * One priced route, as data. The paywall, the gateway's router and the discovery documents all read this,
 * so that what is published is what is charged.
 */
export interface Route {
  /** Upper-case HTTP method. HEAD is never listed: it is priced with its GET. */
  readonly method: string;
  /** Express 5 path pattern, e.g. `/report/:id`. */
  readonly path: string;
  /** MicroUsd per call; at least 1. */
  readonly price: MicroUsd;
  readonly tiers: readonly Tier[];
  readonly settle: SettleMode;
  readonly dialect: Dialect;
  readonly target: Target;
  /** At most 500 characters (CDP's limit). */
  readonly description: string;
  /** Media type of the answer. */
  readonly mimeType: string;
  readonly tags: readonly string[];
  /** JSON Schema of the body (POST, PUT, PATCH) or of the query (other methods). */
  readonly input: Readonly<Record<string, unknown>>;
  /** An example of the answer, for the discovery documents. */
  readonly outputExample?: unknown;
}

/** Whether a request names one of the models in its body. */
export function takesModel({ target }: Pick<Route, "target">): boolean {
  return target.kind !== "forward" && target.kind !== "credit";
}
