import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from "express";
import { AGENT_ROUTE, CHAT_ROUTE, EMBEDDINGS_ROUTE, type RouteCard } from "../../server/catalog.ts";
import { createDiscovery, publishRoute } from "../../server/discovery.ts";
import { errorBody, GatewayError } from "../../server/errors.ts";
import { paymentIdentifierExtension } from "../../server/payment/payment-identifier.ts";
import type { Route } from "../../server/routes.ts";
import { bazaarExtension } from "../../well-known/bazaar.ts";
import { acceptsOf, resourceOf } from "../../well-known/resource.ts";
import type { FreeRoute, PublishedRoute, Service } from "../../well-known/types.ts";

export const SERVICE: Service = {
  name: "Example Agents",
  description: "Agents by the call.",
  tags: ["ai", "agent"],
  contactEmail: "api@example.com",
  publicUrl: "https://api.example.com",
  updatedAt: new Date("2026-11-20T00:00:00Z"),
};

export const TERMS = {
  network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
  asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
  payTo: "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
  maxTimeoutSeconds: 60,
  feePayer: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
  models: ["gpt-oss:20b", "openai/gpt-4o-mini", "vllm-primary"],
} as const;

export const FREE: readonly FreeRoute[] = [
  { method: "GET", path: "/v1/models", description: "Models and prices.", mimeType: "application/json" },
  {
    method: "GET",
    path: "/healthz",
    description: "Whether the process is up.",
    mimeType: "application/json",
  },
];

const REPORT: RouteCard = {
  description: "One report by its id.",
  mimeType: "application/json",
  tags: ["report"],
  input: {
    type: "object",
    properties: { lang: { type: "string", enum: ["en", "de"] }, pages: { type: "integer", minimum: 1 } },
    required: ["lang"],
  },
  outputExample: { id: "7", text: "…" },
};

/** Every kind of route there is: body, query, path parameter, no input at all, a text answer. */
export const ROUTES: readonly Route[] = [
  route("POST", "/agent", 20_000n, AGENT_ROUTE),
  route("POST", "/v1/chat/completions", 20_000n, CHAT_ROUTE),
  route("POST", "/v1/embeddings", 2_000n, EMBEDDINGS_ROUTE),
  route("GET", "/report/:id", 1_500_000n, REPORT),
  route("DELETE", "/report/:id", 1n, { ...REPORT, input: { type: "object" } }),
  route("PUT", "/files/*path", 123_456n, { ...REPORT, description: "Keeps a file." }),
  route("GET", "/motd", 1_000n, { ...REPORT, mimeType: "text/plain", input: {}, outputExample: "Hello." }),
];

function route(method: string, path: string, price: bigint, card: RouteCard): Route {
  return {
    ...card,
    method,
    path,
    price,
    tiers: ["x402"],
    settle: "after",
    dialect: "openai",
    target: { kind: "handler" },
  };
}

export const PUBLISHED: readonly PublishedRoute[] = ROUTES.map((entry) => publishRoute(entry, TERMS));

export function published(change: Partial<PublishedRoute> = {}): PublishedRoute {
  return { ...publishRoute(route("POST", "/agent", 20_000n, AGENT_ROUTE), TERMS), ...change };
}

/** The PaymentRequired a gateway sends for a route, with a token and memo as long as real ones. */
export function paymentRequired(entry: PublishedRoute): Record<string, unknown> {
  const bazaar = bazaarExtension(entry);
  const accepts = acceptsOf(entry)?.map((accept) => ({
    ...accept,
    extra: { ...accept.extra, token: "t".repeat(96), memo: "m".repeat(64) },
  }));
  return {
    x402Version: 2,
    error: "payment_required",
    resource: resourceOf(SERVICE, entry),
    accepts,
    extensions: { bazaar, "payment-identifier": paymentIdentifierExtension(true) },
  };
}

export function headerOf(entry: PublishedRoute): string {
  return Buffer.from(JSON.stringify(paymentRequired(entry))).toString("base64");
}

const answerErrors: ErrorRequestHandler = (error, _req, res, next) => {
  if (!(error instanceof GatewayError)) return next(error);
  res.set(error.headers).status(error.status).json(errorBody(error, "openai"));
};

const notFound: RequestHandler = (_req, _res, next) => next(new GatewayError("not_found"));

/** Our discovery router before a stand-in that answers every priced route with its 402. */
export function standApp(routes: () => readonly PublishedRoute[] = () => PUBLISHED): Express {
  const app = express();
  app.use(createDiscovery({ service: SERVICE, routes, freeRoutes: FREE }));
  for (const entry of PUBLISHED) {
    const challenge: RequestHandler = (req, res, next) => {
      const priced = req.method === "HEAD" ? "GET" : req.method;
      if (priced !== entry.method) return next();
      res.status(402).set("PAYMENT-REQUIRED", headerOf(entry)).json({});
    };
    app.all(entry.path, challenge);
  }
  app.use(notFound, answerErrors);
  return app;
}

export interface Stand {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

export async function listen(app: Express): Promise<Stand> {
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}
