import express, {
  type Express,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from "express";
import { createDiscovery, type DiscoveryOptions } from "./discovery.ts";
import { errorBody, GatewayError } from "./errors.ts";
import { createKeyStatus, createPermissionCheck, type KeyStatusParts } from "./key-status.ts";
import { LedgerFault } from "./ledger/ledger.ts";
import { type ModelList, modelNotFound } from "./proxy/model-catalog.ts";
import { createRouteTable, pathOf } from "./route-table.ts";
import { dialectOf, type Route } from "./routes.ts";

/** One part of the process, as `/readyz` reports it. */
export interface Readiness {
  readonly ok: boolean;
  readonly detail?: string;
}

export interface AppParts {
  readonly discovery: DiscoveryOptions;
  readonly routes: readonly Route[];
  /** Undefined: there are no keys here. */
  readonly keys: KeyStatusParts | undefined;
  /** Sign-in and wallets' own accounts; undefined: off. */
  readonly accounts: RequestHandler | undefined;
  /** The console for people; undefined: off. */
  readonly console: RequestHandler | undefined;
  /** The body of `GET /v1/models`. */
  readonly models: () => ModelList;
  /** Asked by `/readyz`; each with its own time limit. */
  readonly readiness: () => Promise<Readonly<Record<string, Readiness>>>;
  readonly onFault: (error: unknown) => void;
}

const MODEL_PATHS = ["/v1/models", "/ai/models", "/api/v1/models"];
const KEY_PATHS = ["/v1/key", "/ai/key", "/api/v1/key"];

/** The pattern of one model. Its name may have slashes, which clients write as they are or encoded. */
function oneOf(path: string): `${string}/*name` {
  return `${path}/*name`;
}

/** The Express app behind the priced routes: where its comfort matters and its price does not. */
export function createApp(parts: AppParts): Express {
  const app = express();
  const table = createRouteTable(parts.routes);
  app.disable("x-powered-by");
  app.set("etag", false);
  app.use(createDiscovery(parts.discovery));
  if (parts.accounts !== undefined) app.use(parts.accounts);
  if (parts.console !== undefined) app.use(parts.console);
  if (parts.keys !== undefined) {
    app.get(KEY_PATHS, createKeyStatus(parts.keys));
    app.get([...MODEL_PATHS, ...MODEL_PATHS.map(oneOf)], createPermissionCheck(parts.keys, "models:list"));
  }
  const publish = (res: Response, body: unknown): void =>
    void res.set("Access-Control-Allow-Origin", "*").set("Cache-Control", "public, max-age=60").json(body);
  app.get(MODEL_PATHS, (_req, res) => publish(res, parts.models()));
  for (const path of MODEL_PATHS) {
    app.get(oneOf(path), (req, res) => {
      const name = req.params.name.join("/");
      const found = parts.models().data.find(({ id }) => id === name);
      if (found === undefined) throw modelNotFound();
      publish(res, found);
    });
  }
  app.get("/healthz", (_req, res) => void res.set("Cache-Control", "no-store").json({ status: "ok" }));
  app.get("/readyz", async (_req, res) => {
    const checks = await parts.readiness();
    const ready = Object.values(checks).every((check) => check.ok);
    res
      .status(ready ? 200 : 503)
      .set("Cache-Control", "no-store")
      .json({ status: ready ? "ready" : "not_ready", checks });
  });
  app.use((req, res) => {
    const allowed = table.methods(req);
    const error =
      allowed.length > 0
        ? new GatewayError("method_not_allowed", { headers: { Allow: [...allowed, "OPTIONS"].join(", ") } })
        : new GatewayError("not_found");
    sendError(req, res, error);
  });
  // Express tells an error handler by its four parameters.
  app.use((cause: unknown, req: Request, res: Response, _next: NextFunction) => {
    const error = cause instanceof GatewayError ? cause : fromFault(cause);
    if (error.status >= 500) parts.onFault(cause);
    if (res.headersSent) res.destroy();
    else sendError(req, res, error);
  });
  return app;
}

/** Express's own complaints (a malformed %-sequence in the path) are the caller's fault; a ledger that is away is ours. */
function fromFault(cause: unknown): GatewayError {
  const status = typeof cause === "object" && cause !== null && "status" in cause ? cause.status : undefined;
  if (cause instanceof LedgerFault) {
    return new GatewayError("ledger_unavailable", { cause, retryAfterSeconds: 2 });
  }
  return status === 400 ? new GatewayError("invalid_request") : new GatewayError("internal_error", { cause });
}

function sendError(req: Request, res: Response, error: GatewayError): void {
  const dialect = dialectOf(pathOf(req));
  res
    .status(error.status)
    .set({ ...error.headers, "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*" })
    .json(errorBody(error, dialect));
}
