import { createHash } from "node:crypto";
import { type NextFunction, type Request, type Response, Router } from "express";
import type { SessionCookies } from "../well-known/account-operations.ts";
import { API_CATALOG_PATH, API_CATALOG_TYPE, apiCatalog } from "../well-known/api-catalog.ts";
import { faviconSvg } from "../well-known/favicon.ts";
import { llmsTxt } from "../well-known/llms-txt.ts";
import { openApiDocument } from "../well-known/openapi.ts";
import { urlOf } from "../well-known/resource.ts";
import { robotsTxt } from "../well-known/robots-txt.ts";
import type {
  FreeRoute,
  JsonObject,
  ModelPrice,
  OtherOffer,
  PublishedRoute,
  Service,
} from "../well-known/types.ts";
import { x402Document } from "../well-known/x402-document.ts";
import { GatewayError } from "./errors.ts";
import { formatUsd } from "./money.ts";
import type { Route } from "./routes.ts";

/** The part of a route's terms that is the same for all routes and not in the route table. */
export interface PublishedTerms {
  readonly network: string;
  readonly asset: string;
  readonly payTo: string;
  readonly maxTimeoutSeconds: number;
  /** Undefined while no facilitator has told it. */
  readonly feePayer?: string | undefined;
  /** Public model names, for routes that take one. */
  readonly models?: readonly string[] | undefined;
  /** What credit can be paid in besides USDC. The same array until that changes. */
  readonly otherOffers?: readonly OtherOffer[] | undefined;
  /** The price depends on the request. */
  readonly quoted?: boolean | undefined;
  /** Where the model decides it. The same array until that changes. */
  readonly modelPrices?: readonly ModelPrice[] | undefined;
}

export interface DiscoveryOptions {
  readonly service: Service;
  /** The priced routes with today's terms; asked once per request, so it must be cheap. */
  readonly routes: () => readonly PublishedRoute[];
  readonly freeRoutes: readonly FreeRoute[];
  /** Sign-in and the account API are on; undefined: off. */
  readonly account?: SessionCookies | undefined;
  /** Documents that do not change while the process runs, by path. */
  readonly fixed?: Readonly<Record<string, FixedDocument>>;
}

/** A document and its media type. */
export interface FixedDocument {
  readonly type: string;
  readonly body: JsonObject;
}

type DocumentPath = (typeof PATHS)[number];

interface Rendered {
  readonly body: Buffer;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

type Documents = Readonly<Record<DocumentPath, Rendered>>;

const METHODS = "GET, HEAD, OPTIONS";
const PATHS = [
  "/.well-known/x402",
  "/.well-known/x402.json",
  API_CATALOG_PATH,
  "/openapi.json",
  "/llms.txt",
  "/robots.txt",
  "/favicon.svg",
] as const;

/** A route of the table together with the terms it is sold at. */
export function publishRoute(route: Route, terms: PublishedTerms): PublishedRoute {
  const { method, path, description, mimeType, tags, tiers, input } = route;
  return {
    method,
    path,
    description,
    mimeType,
    tags,
    tiers,
    input,
    ...(route.outputExample === undefined ? {} : { outputExample: route.outputExample }),
    amount: route.price.toString(),
    priceUsd: formatUsd(route.price),
    network: terms.network,
    asset: terms.asset,
    payTo: terms.payTo,
    maxTimeoutSeconds: terms.maxTimeoutSeconds,
    feePayer: terms.feePayer,
    models: terms.models,
    ...(terms.quoted === true ? { quoted: true } : {}),
    ...(terms.modelPrices === undefined ? {} : { modelPrices: terms.modelPrices }),
    ...(terms.otherOffers === undefined ? {} : { otherOffers: terms.otherOffers }),
    ...(route.target.kind === "credit"
      ? { leastUsd: formatUsd(route.target.least), mostUsd: formatUsd(route.target.most) }
      : {}),
  };
}

/**
 * Serves the discovery documents: free, without redirects, readable from any origin, cacheable for five minutes with a strong
 * ETag. Other methods are 405; every other path falls through. No URL in them comes from the request.
 * The documents are rendered when the terms change, not when they are asked for.
 */
export function createDiscovery(options: DiscoveryOptions): Router {
  const documents = memoised(options);
  const router = Router({ strict: true, caseSensitive: true });
  const serve = (path: string, rendered: () => Rendered) =>
    router
      .route(path)
      .options(preflight)
      .get((req, res) => send(req, res, rendered()))
      .all(refuse);
  for (const path of PATHS) serve(path, () => documents()[path]);
  for (const [path, { type, body }] of Object.entries(options.fixed ?? {})) {
    const rendered = document(type, JSON.stringify(body));
    serve(path, () => rendered);
  }
  return router;
}

/**
 * Express leaves out the body for HEAD. The ETag is compared here, because Express ignores If-None-Match beside
 * `Cache-Control: no-cache`, and every `fetch` sends both.
 */
function send(req: Request, res: Response, { headers, etag, body }: Rendered): void {
  res.set(headers);
  if (knows(req.get("If-None-Match"), etag)) res.status(304).end();
  else res.send(body);
}

/** RFC 9110 §13.1.2: a list of tags, compared weakly, or `*`. */
function knows(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(",").map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  return tags.includes(etag) || tags.includes("*");
}

function preflight(_req: Request, res: Response): void {
  res.set({
    Allow: METHODS,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
  });
  res.status(204).end();
}

function refuse(_req: Request, _res: Response, next: NextFunction): void {
  next(new GatewayError("method_not_allowed", { headers: { Allow: METHODS } }));
}

function memoised({ service, routes, freeRoutes, account }: DiscoveryOptions): () => Documents {
  let rendered: { readonly routes: readonly PublishedRoute[]; readonly documents: Documents } | undefined;
  return () => {
    const current = routes();
    if (rendered === undefined || !sameRoutes(rendered.routes, current)) {
      rendered = { routes: current, documents: render(service, current, freeRoutes, account) };
    }
    return rendered.documents;
  };
}

/** Field by field. Schemas and examples are the config's own objects, so they need no deep comparison. */
function sameRoutes(before: readonly PublishedRoute[], after: readonly PublishedRoute[]): boolean {
  return before.length === after.length && before.every((route, index) => sameRoute(route, after[index]));
}

function sameRoute(before: PublishedRoute, after: PublishedRoute | undefined): boolean {
  if (before === after) return true;
  if (after === undefined) return false;
  const now = new Map(Object.entries(after));
  const fields = Object.entries(before);
  return fields.length === now.size && fields.every(([name, value]) => sameValue(value, now.get(name)));
}

function sameValue(before: unknown, after: unknown): boolean {
  if (!Array.isArray(before) || !Array.isArray(after)) return before === after;
  return before.length === after.length && before.every((value, index) => value === after[index]);
}

function render(
  service: Service,
  routes: readonly PublishedRoute[],
  freeRoutes: readonly FreeRoute[],
  account: SessionCookies | undefined,
): Documents {
  const x402 = json(x402Document(service, routes));
  const catalogUrl = urlOf(service, API_CATALOG_PATH);
  return {
    "/.well-known/x402": x402,
    "/.well-known/x402.json": x402,
    [API_CATALOG_PATH]: document(API_CATALOG_TYPE, JSON.stringify(apiCatalog(service)), {
      Link: `<${catalogUrl}>; rel="api-catalog"`,
    }),
    "/openapi.json": json(openApiDocument(service, routes, freeRoutes, account)),
    "/llms.txt": document("text/plain; charset=utf-8", llmsTxt(service, routes, freeRoutes)),
    "/robots.txt": document("text/plain; charset=utf-8", robotsTxt()),
    "/favicon.svg": document("image/svg+xml", faviconSvg()),
  };
}

function json(value: JsonObject): Rendered {
  return document("application/json; charset=utf-8", JSON.stringify(value));
}

function document(type: string, text: string, more: Readonly<Record<string, string>> = {}): Rendered {
  const etag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 27)}"`;
  const headers = {
    "Content-Type": type,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag",
    "Cache-Control": "public, max-age=300",
    ETag: etag,
    ...more,
  };
  return { body: Buffer.from(text), etag, headers };
}
