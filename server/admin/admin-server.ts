import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import type { Metrics } from "../metrics.ts";

/** The listener off the public port. */
export interface AdminServer {
  /** The port it listens on, also when 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

export interface AdminServerOptions {
  readonly metrics: Pick<Metrics, "text" | "contentType">;
  readonly host: string;
  readonly port: number;
  /** Answers everything under `/admin`, tokens included; undefined: there is nothing there. */
  readonly api?: Express | undefined;
}

/** `GET /metrics` and the admin API on a listener of their own; anything else is 404. Rejects if it cannot listen. */
export function createAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { metrics, api } = options;
  const server = createServer((req, res) => {
    const [path = ""] = (req.url ?? "").split("?");
    if (api !== undefined && /^\/admin(?:\/|$)/i.test(path)) return void api(req, res);
    if (path !== "/metrics" || (req.method !== "GET" && req.method !== "HEAD")) {
      res.writeHead(404).end();
      return;
    }
    metrics.text().then(
      (text) =>
        res.writeHead(200, { "Content-Type": metrics.contentType, "Cache-Control": "no-store" }).end(text),
      () => res.writeHead(500).end(),
    );
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.off("error", reject);
      resolve({ port: portOf(server.address()), close: () => close(server) });
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeAllConnections();
  });
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === "object" && address !== null ? address.port : 0;
}
