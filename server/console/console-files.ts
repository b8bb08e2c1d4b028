import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import express, { type NextFunction, type Request, type Response, Router } from "express";
import { GatewayError } from "../errors.ts";

/** Where the built console is: `dist/console`, beside the compiled server; below the sources where they run as they are. */
export function builtConsole(): string {
  const place = import.meta.url.endsWith(".ts") ? "../../dist/console" : "../../console";
  return fileURLToPath(new URL(place, import.meta.url));
}

const INDEX = "index.html";
/** The build names these after their content, so what is there under a name stays the same. */
const HASHED = `assets${sep}`;
const FOREVER = "public, max-age=31536000, immutable";
/** A path that a screen may have. No name begins with a dot, and `assets` is no screen. */
const SCREEN = /^(?!\/assets(?:\/|$))(?:\/(?!\.)[\w.~:@-]+)*\/?$/;
const NOT_BUILT = "The console is not built. Whoever runs this service builds it with: npm run build";

/** The files of a directory, and its index.html at every path of a screen. GET and HEAD only; `not_found` for everything else. */
export function createConsoleFiles(directory: string): Router {
  const router = Router();
  router.use((req, _res, next) => {
    if (req.method === "GET" || req.method === "HEAD") return next();
    throw new GatewayError("method_not_allowed", { headers: { Allow: "GET, HEAD" } });
  });
  router.use(
    express.static(directory, {
      index: false,
      redirect: false,
      dotfiles: "ignore",
      cacheControl: false,
      acceptRanges: false,
      setHeaders: (res, path) => void res.setHeader("Cache-Control", keepFor(relative(directory, path))),
    }),
  );
  router.use((req, res, next) => {
    const isScreen = req.accepts(["json", "html"]) === "html" && SCREEN.test(req.path);
    if (req.path !== "/" && !isScreen) throw new GatewayError("not_found");
    sendIndex(req, res, directory, next);
  });
  return router;
}

/** The index names the files of one build, so nobody may keep it. What has no hash is asked for again, by its ETag. */
function keepFor(file: string): string {
  if (file === INDEX) return "no-store";
  return file.startsWith(HASHED) ? FOREVER : "no-cache";
}

function sendIndex(req: Request, res: Response, root: string, next: NextFunction): void {
  res.set("Cache-Control", "no-store");
  const options = { root, cacheControl: false, lastModified: false, etag: false, acceptRanges: false };
  res.sendFile(INDEX, options, (error: unknown) => {
    // Whoever hangs up has seen enough.
    if (!(error instanceof Error) || req.socket.destroyed) return;
    const isMissing = "status" in error && error.status === 404;
    next(isMissing ? new GatewayError("not_found", { message: NOT_BUILT }) : error);
  });
}
