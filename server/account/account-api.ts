import express, {
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
  Router,
} from "express";
import type { Actions } from "../admin/actions.ts";
import { fromFault, made, param, refuseOtherBodies, repeatKey, told, usageAnswer } from "../admin/answers.ts";
import { errorBody, GatewayError } from "../errors.ts";
import { type AuthRouteParts, authRoutes } from "./auth-routes.ts";
import type { Callers } from "./caller.ts";
import type { OwnAccount } from "./own-account.ts";
import type { OwnAlerts } from "./own-alerts.ts";
import { createReadLimit } from "./read-limit.ts";
import type { SigningRpc } from "./signing-rpc.ts";
import type { Spend } from "./spend.ts";

export interface AccountApiParts extends AuthRouteParts {
  readonly own: OwnAccount;
  readonly alerts: OwnAlerts;
  readonly spend: Spend;
  readonly rpc: SigningRpc;
  readonly actions: Pick<Actions, "usage" | "usageCsv">;
  readonly onFault: (error: unknown) => void;
}

const BODY_LIMIT = "64kb";
/** Changes nothing, though it is a POST: Solana's clients send no headers of a page's own, so its `Origin` must do. */
const RPC_PATH = "/account/rpc";
/** They may look through many records of the ledger. */
const SEARCHES = ["/account/usage", "/account/spend", "/account/journal", "/account/topups"];
const CHANGES = ["/account/keys", "/account/provider-keys", "/account/alerts"];
const MOUNTS = ["/account", "/auth"];
/** JSON and CSV only, for this origin only: nothing here may be shown as a page, framed, kept or read by another site. */
const HEADERS = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
};

/** Sign-in and the API of a wallet's own account. Answers every path under `/auth` and `/account`; others pass through. */
export function createAccountApi(parts: AccountApiParts): Router {
  const router = Router();
  const json = [express.json({ limit: BODY_LIMIT }), refuseOtherBodies];
  router.use(MOUNTS, (_req, res, next) => {
    res.set(HEADERS);
    next();
  });
  router.use("/auth", ...json);
  authRoutes(router, parts);
  const wallets = createWallets(parts.callers);
  // Who it is comes before the body: nobody else's is read.
  router.use("/account", wallets.require, ...json);
  const limit = createReadLimit({ wallet: wallets.of, clientAddress: parts.clientAddress });
  router.use(SEARCHES, limit.searches);
  router.use(RPC_PATH, limit.asks);
  router.use(CHANGES, limit.changes);
  accountRoutes(router, parts, wallets.of);
  router.use(MOUNTS, () => {
    throw new GatewayError("not_found");
  });
  // Express tells an error handler by its four parameters.
  router.use(MOUNTS, (cause: unknown, req: Request, res: Response, _next: NextFunction) => {
    const error = cause instanceof GatewayError ? cause : fromFault(cause);
    if (error.status >= 500) parts.onFault(cause);
    if (res.headersSent) return void res.destroy();
    // A body that nobody read would be taken for the next request.
    if (!req.complete) res.set("Connection", "close");
    res.status(error.status).set(error.headers).json(errorBody(error, "openai"));
  });
  return router;
}

interface Wallets {
  readonly require: RequestHandler;
  readonly of: (req: Request) => string;
}

/** Remembers for each request whose it is. */
function createWallets(callers: Callers): Wallets {
  const known = new WeakMap<Request, string>();
  return {
    require: async (req, _res, next) => {
      const reads = req.baseUrl + req.path === RPC_PATH ? true : undefined;
      known.set(req, (await callers.of(req, reads)).wallet);
      next();
    },
    of(req) {
      const wallet = known.get(req);
      if (wallet === undefined) throw new GatewayError("sign_in_required");
      return wallet;
    },
  };
}

function accountRoutes(
  router: Router,
  { own, alerts, spend, rpc, actions, clientAddress }: AccountApiParts,
  wallet: (req: Request) => string,
): void {
  const id = (req: Request) => param(req, "id");
  const provider = (req: Request) => param(req, "provider");
  router
    .get(
      "/account",
      told((req) => own.show(wallet(req))),
    )
    .get(
      "/account/keys",
      told((req) => own.listKeys(wallet(req))),
    )
    .post(
      "/account/keys",
      made((req) => own.createKey(wallet(req), req.body, repeatKey(req))),
    )
    .get(
      "/account/keys/:id",
      told((req) => own.showKey(wallet(req), id(req))),
    )
    .patch(
      "/account/keys/:id",
      told((req) => own.changeKey(wallet(req), id(req), req.body)),
    )
    .delete(
      "/account/keys/:id",
      told((req) => own.revokeKey(wallet(req), id(req))),
    )
    .post(
      "/account/keys/:id/rotate",
      made((req) => own.rotateKey(wallet(req), id(req), req.body, repeatKey(req))),
    )
    .get(
      "/account/usage",
      usageAnswer(actions, (query, req) => own.usageFilter(wallet(req), query)),
    )
    .get(
      "/account/spend",
      told((req) => spend(wallet(req), req.query)),
    )
    .post(
      "/account/rpc",
      told((req) => rpc(wallet(req), req.body)),
    )
    .get(
      "/account/journal",
      told((req) => own.journal(wallet(req), req.query)),
    )
    .get(
      "/account/topups",
      told((req) => own.topUps(wallet(req), req.query)),
    )
    .get(
      "/account/alerts",
      told((req) => alerts.alerts(wallet(req))),
    )
    .put(
      "/account/alerts",
      told((req) => alerts.setAlerts(wallet(req), req.body)),
    )
    .delete(
      "/account/alerts",
      told((req) => alerts.deleteAlerts(wallet(req))),
    )
    .get(
      "/account/alerts/recent",
      told((req) => alerts.recentAlerts(wallet(req))),
    )
    .post(
      "/account/alerts/test",
      told((req) => alerts.testAlerts(wallet(req), clientAddress(req))),
    )
    .post(
      "/account/alerts/webhook/rotate",
      told((req) => alerts.rotateAlertSecret(wallet(req))),
    )
    .get(
      "/account/provider-keys",
      told((req) => own.listProviderKeys(wallet(req))),
    )
    .get(
      "/account/provider-keys/:provider",
      told((req) => own.showProviderKey(wallet(req), provider(req))),
    )
    .put(
      "/account/provider-keys/:provider",
      told((req) => own.setProviderKey(wallet(req), provider(req), req.body)),
    )
    .delete(
      "/account/provider-keys/:provider",
      told((req) => own.deleteProviderKey(wallet(req), provider(req))),
    );
}
