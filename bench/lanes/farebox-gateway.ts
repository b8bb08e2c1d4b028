import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gatewayEnv, type Lane, pathOf } from "../lane.ts";

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
      env: { ...gatewayEnv(directory, { rpcUrl, facilitatorUrl }), UPSTREAM_URL: upstreamUrl },
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
