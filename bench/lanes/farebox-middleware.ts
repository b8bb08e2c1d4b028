import { join } from "node:path";
import { type Lane, PAY_TO, pathOf } from "../lane.ts";

/** The built middleware in an Express 5 app, as a table in the first `app.use`. */
export const fareboxMiddleware = middleware("farebox-middleware", "Farebox, middleware (app.use)", "use");

/** The same on the route, the documented form. */
export const fareboxRoute = middleware("farebox-route", "Farebox, middleware (route)", "route");

/** In front of the same handlers as `@x402/express`; request log, metrics and the durable ledger are on. */
function middleware(name: string, label: string, form: string): Lane {
  return {
    name,
    label,
    sells: true,
    command: (directory, { facilitatorUrl, rpcUrl }) => ({
      name,
      directory,
      args: [pathOf("servers/farebox-middleware.mjs")],
      env: {
        FORM: form,
        FAREBOX_INDEX: pathOf("../dist/server/index.js"),
        PAY_TO,
        RPC_URL: rpcUrl,
        FACILITATOR_URL: facilitatorUrl,
        FAREBOX_DATA_DIR: join(directory, "data"),
        FAREBOX_MEMO_SECRET: "a-secret-of-the-benchmark-with-enough-characters",
      },
    }),
  };
}
