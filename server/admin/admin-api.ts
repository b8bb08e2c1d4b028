import { createHash, timingSafeEqual } from "node:crypto";
import express, {
  type Express,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from "express";
import { errorBody, GatewayError } from "../errors.ts";
import type { Actions } from "./actions.ts";
import { fromFault, made, param, refuseOtherBodies, repeatKey, told, usageAnswer } from "./answers.ts";

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
    "/admin/provider-keys",
    told((req) => withoutQuery(req, () => actions.listAllProviderKeys())),
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
  app.get("/admin/usage", usageAnswer(actions));
  app.get(
    "/admin/check",
    told(() => actions.check()),
  );
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
