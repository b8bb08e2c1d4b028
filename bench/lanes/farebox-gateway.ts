import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Lane, PAY_TO, pathOf } from "../lane.ts";

/** The built gateway in production mode, request log and metrics on, the durable ledger on disk. */
export const fareboxGateway: Lane = {
  name: "farebox-gateway",
  label: "Farebox, gateway",
  sells: true,
  command: (directory, { facilitatorUrl, rpcUrl, upstreamUrl }) => {
    writeFileSync(join(directory, "farebox.yaml"), settings(upstreamUrl));
    return {
      name: "farebox-gateway",
      directory,
      args: [pathOf("../dist/server/main.js")],
      env: {
        HOST: "127.0.0.1",
        ADMIN_PORT: "0",
        NETWORK: "solana",
        PAY_TO,
        RPC_URL: rpcUrl,
        FACILITATOR_URL: facilitatorUrl,
        PUBLIC_URL: "http://127.0.0.1",
        UPSTREAM_URL: upstreamUrl,
        FAREBOX_DATA_DIR: join(directory, "data"),
        FAREBOX_MEMO_SECRET: "a-secret-of-the-benchmark-with-enough-characters",
      },
    };
  },
};

/** Tokens live longer than usual because the payments are signed before the clock starts. */
function settings(upstreamUrl: string): string {
  const routes = ["report", "stream", "body"].map(
    (path) => `  "GET /${path}": { upstream: sold, price: "$0.02", description: The daily report. }`,
  );
  return [
    "payment: { tokenTtl: 1h }",
    `upstreams: { sold: { url: "${upstreamUrl}" } }`,
    "models: { bench: {} }",
    "routes:",
    ...routes,
    "",
  ].join("\n");
}
