import { type NextFunction, type Request, type RequestHandler, type Response, Router } from "express";
import { fromFault } from "../admin/answers.ts";
import { errorBody, GatewayError } from "../errors.ts";
import { createConsoleFiles } from "./console-files.ts";

export interface ConsoleParts {
  /** Where the built page is. It may be missing: then `/console` is 404 and says how to build it. */
  readonly directory: string;
  /** The body of `/console/config.json`. */
  readonly config: () => Readonly<Record<string, unknown>>;
  /** `POST /console/local/faucet`; undefined outside local mode. */
  readonly faucet: readonly RequestHandler[] | undefined;
  readonly onFault: (error: unknown) => void;
}

const MOUNT = "/console";

/**
 * The page may load and ask nothing but this origin, be in no frame and send no form. `same-origin-allow-popups`: some wallets
 * answer from a window that they open.
 */
const HEADERS = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
};

/** The console for people, at `/console` and below. Answers every path there; others pass through. */
export function createConsole({ directory, config, faucet, onFault }: ConsoleParts): Router {
  const router = Router({ caseSensitive: true });
  router.use(MOUNT, (_req, res, next) => {
    res.set(HEADERS);
    next();
  });
  router.get(`${MOUNT}/config.json`, (_req, res) => void res.set("Cache-Control", "no-store").json(config()));
  if (faucet !== undefined) router.post(`${MOUNT}/local/faucet`, ...faucet);
  router.use(`${MOUNT}/local`, () => {
    throw new GatewayError("not_found");
  });
  router.use(MOUNT, createConsoleFiles(directory));
  // Express tells an error handler by its four parameters.
  router.use(MOUNT, (cause: unknown, req: Request, res: Response, _next: NextFunction) => {
    const error = cause instanceof GatewayError ? cause : fromFault(cause);
    if (error.status >= 500) onFault(cause);
    if (res.headersSent) return void res.destroy();
    // A body that nobody read would be taken for the next request.
    if (!req.complete) res.set("Connection", "close");
    res
      .status(error.status)
      .set({ ...error.headers, "Cache-Control": "no-store" })
      .json(errorBody(error, "openai"));
  });
  return router;
}
