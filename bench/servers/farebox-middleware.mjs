import express from "express";
import { HANDLERS } from "./handlers.mjs";

const { PORT, FORM, PAY_TO, RPC_URL, FACILITATOR_URL, FAREBOX_DATA_DIR, FAREBOX_MEMO_SECRET } = process.env;
// The built program, which is not there before `npm run build`.
const { createPaywall } = await import(process.env.FAREBOX_INDEX);
const paywall = await createPaywall({
  network: "solana",
  payTo: PAY_TO,
  publicUrl: `http://127.0.0.1:${PORT}`,
  facilitator: FACILITATOR_URL,
  rpcUrl: RPC_URL,
  memoSecret: FAREBOX_MEMO_SECRET,
  dataDir: FAREBOX_DATA_DIR,
  // Tokens live longer than usual because the payments are signed before the clock starts.
  payment: { tokenTtl: "1h" },
});

const sold = { price: "$0.02", description: "The daily report." };
const app = express();
const paths = Object.entries(HANDLERS);
if (FORM === "route") {
  for (const [path, handler] of paths) app.get(path, paywall(sold), handler);
} else {
  app.use(paywall({ routes: Object.fromEntries(paths.map(([path]) => [`GET ${path}`, sold])) }));
  for (const [path, handler] of paths) app.get(path, handler);
}
const server = app.listen(Number(PORT), "127.0.0.1");
process.once("SIGTERM", () => {
  server.close(() => paywall.close());
  server.closeIdleConnections();
});
