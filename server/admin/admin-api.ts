import { createHash, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import express, {
  type Express,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from "express";
import { errorBody, GatewayError } from "../errors.ts";
import { LedgerFault } from "../ledger/ledger.ts";
import type { Answer } from "./action-parts.ts";
import type { Actions } from "./actions.ts";

export interface AdminApiParts {
  readonly actions: Actions;
  /** The operator's token; whoever has it may do everything here. */
  readonly token: string;
  readonly onFault: (error: unknown) => void;
}

const BODY_LIMIT = "64kb";

/** The operator's actions over HTTP. Every path under `/admin` needs the token, also those that are not there. */
export function createAdminApi({ actions, token, onFault }: AdminApiParts): Express {
  const app = express();
  app.disable("x-powered-by");
  app.set("etag", false);
  app.set("query parser", "simple");
  app.use(requireToken(token), express.json({ limit: BODY_LIMIT }), refuseOtherBodies);
  accountRoutes(app, actions);
  keyRoutes(app, actions);
  usageRoutes(app, actions);
  app.use(() => {
    throw new GatewayError("not_found");
  });
  // Express tells an error handler by its four parameters.
  app.use((cause: unknown, _req: Request, res: Response, _next: NextFunction) => {
    const error = cause instanceof GatewayError ? cause : fromFault(cause);
    if (error.status >= 500) onFault(cause);
    if (res.headersSent) res.destroy();
    else res.status(error.status).set(error.headers).json(errorBody(error, "openai"));
  });
  return app;
}

function accountRoutes(app: Express, actions: Actions): void {
  app.post(
    "/admin/accounts",
    made((req) => actions.createAccount(req.body, repeatKey(req))),
  );
  app.get(
    "/admin/accounts",
    told((req) => withoutQuery(req, () => actions.listAccounts())),
  );
  app.post(
    "/admin/accounts/:id/credits",
    made((req) => actions.creditAccount(param(req, "id"), req.body)),
  );
  app.get(
    "/admin/accounts/:id/provider-keys",
    told((req) => actions.listProviderKeys(param(req, "id"))),
  );
  const path = "/admin/accounts/:id/provider-keys/:provider";
  app.put(
    path,
    told((req) => actions.setProviderKey(param(req, "id"), param(req, "provider"), req.body)),
  );
  app.delete(
    path,
    told((req) => actions.deleteProviderKey(param(req, "id"), param(req, "provider"))),
  );
}

function keyRoutes(app: Express, actions: Actions): void {
  app.post(
    "/admin/keys",
    made((req) => actions.createKey(req.body, repeatKey(req))),
  );
  app.get(
    "/admin/keys",
    told((req) => actions.listKeys(accountFilter(req))),
  );
  app.get(
    "/admin/keys/:id",
    told((req) => actions.showKey(param(req, "id"))),
  );
  app.patch(
    "/admin/keys/:id",
    told((req) => actions.changeKey(param(req, "id"), req.body)),
  );
  app.post(
    "/admin/keys/:id/revoke",
    told((req) => actions.revokeKey(param(req, "id"))),
  );
  app.post(
    "/admin/keys/:id/rotate",
    made((req) => actions.rotateKey(param(req, "id"), req.body, repeatKey(req))),
  );
}

function usageRoutes(app: Express, actions: Actions): void {
  app.get("/admin/usage", async (req, res) => {
    const { format, ...query } = req.query;
    if (format !== undefined && format !== "json" && format !== "csv") {
      throw new GatewayError("invalid_request", { message: "format: write json or csv" });
    }
    const csv =
      format === "csv" || (format === undefined && req.accepts(["json", "text/csv"]) === "text/csv");
    if (!csv) return void res.json(await actions.usage(query));
    await sendCsv(req, res, actions.usageCsv(query));
  });
  app.get(
    "/admin/check",
    told(() => actions.check()),
  );
}

/** Takes the first page before the head is sent, so that a ledger that cannot answer is an error and no empty file. */
async function sendCsv(req: Request, res: Response, pages: AsyncGenerator<string>): Promise<void> {
  const first = await pages.next();
  res.type("text/csv").set("Content-Disposition", 'attachment; filename="usage.csv"');
  res.write(first.value ?? "");
  try {
    await pipeline(Readable.from(pages), res);
  } catch (error) {
    // Whoever hangs up has seen enough.
    if (!req.socket.destroyed) throw error;
  }
}

/** A body that is not parsed would be taken for none. */
function refuseOtherBodies(req: Request, _res: Response, next: NextFunction): void {
  const sent =
    req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;
  if (sent && req.body === undefined) {
    throw new GatewayError("invalid_request", { message: "body: send JSON, as application/json" });
  }
  next();
}

function told(answer: (req: Request) => Promise<object>): RequestHandler {
  return async (req, res) => void res.json(await answer(req));
}

/** 201, or 200 if it was there already. */
function made(answer: (req: Request) => Promise<Answer>): RequestHandler {
  return async (req, res) => {
    const body = await answer(req);
    res.status(body["repeated"] === true ? 200 : 201).json(body);
  };
}

/** Compares hashes: equally long, so the comparison tells nothing about the token by its time. */
function requireToken(token: string): RequestHandler {
  const expected = sha256(token);
  return (req, res, next) => {
    res.set("Cache-Control", "no-store");
    const [, given = ""] = /^bearer +([\x21-\x7e]+) *$/i.exec(req.headers.authorization ?? "") ?? [];
    if (timingSafeEqual(sha256(given), expected)) return next();
    throw new GatewayError("admin_token_required", { headers: { "WWW-Authenticate": "Bearer" } });
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function param(req: Request, name: string): string {
  const value = req.params[name];
  return typeof value === "string" ? value : "";
}

function repeatKey(req: Request): string | undefined {
  return req.get("idempotency-key");
}

function withoutQuery(req: Request, answer: () => Promise<object>): Promise<object> {
  const [unknown] = Object.keys(req.query);
  if (unknown === undefined) return answer();
  throw new GatewayError("invalid_request", { message: `${JSON.stringify(unknown)}: unknown field` });
}

function accountFilter(req: Request): string | undefined {
  const { account, ...rest } = req.query;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw new GatewayError("invalid_request", { message: `${JSON.stringify(unknown)}: unknown field` });
  }
  if (account === undefined || typeof account === "string") return account;
  throw new GatewayError("invalid_request", { message: "account: write one" });
}

/** Express's and its body parser's complaints are the caller's fault; a ledger that is away is ours. */
function fromFault(cause: unknown): GatewayError {
  if (cause instanceof LedgerFault) {
    return new GatewayError("ledger_unavailable", {
      cause,
      retryAfterSeconds: 2,
      message:
        "The ledger cannot answer now. Ask again; with an idempotency key or reference nothing is done twice.",
    });
  }
  const status = typeof cause === "object" && cause !== null && "status" in cause ? cause.status : undefined;
  if (status === 413) return new GatewayError("body_too_large");
  if (cause instanceof SyntaxError && status === 400) return new GatewayError("invalid_json");
  const theirs = typeof status === "number" && status >= 400 && status < 500;
  return theirs ? new GatewayError("invalid_request") : new GatewayError("internal_error", { cause });
}
