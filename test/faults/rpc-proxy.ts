import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Replaces a node's answer: its whole body and status, or another result made from the real one. */
export type RpcFault =
  | { readonly status: number; readonly body: string }
  | { readonly change: (result: unknown) => unknown };

/** A Solana node before a Solana node, which fails as told. */
export interface RpcProxy {
  readonly url: string;
  /** Where calls go; until it is known they wait. */
  forwardTo(url: string): void;
  /** From now on this method is answered so. */
  fail(method: string, fault: RpcFault): void;
  /** From now on nothing is forwarded: everything is answered so. */
  failAll(fault: RpcFault): void;
  repair(): void;
  /** How often this method was called since it was last asked. */
  calls(method: string): number;
  /** From now on connections are refused. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
}

/** Starts one on a free port of the loopback interface. */
export async function startRpcProxy(): Promise<RpcProxy> {
  const faults = new Map<string, RpcFault>();
  const counts = new Map<string, number>();
  let everything: RpcFault | undefined;
  let resolveTarget: (url: string) => void = () => {};
  const target = new Promise<string>((resolve) => {
    resolveTarget = resolve;
  });
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString("utf8");
    const { method } = JSON.parse(body) as { method: string };
    counts.set(method, (counts.get(method) ?? 0) + 1);
    const fault = everything ?? faults.get(method);
    if (fault !== undefined && "status" in fault) {
      res.writeHead(fault.status).end(fault.body);
      return;
    }
    const headers = { "content-type": "application/json" };
    const asked = await fetch(await target, { method: "POST", headers, body }).catch(() => undefined);
    if (asked === undefined) {
      // The node is gone, as it is for its other callers.
      res.destroy();
      return;
    }
    const answer = (await asked.json()) as { result?: unknown };
    const changed = fault === undefined ? answer : { ...answer, result: fault.change(answer.result) };
    res.writeHead(asked.status, headers).end(JSON.stringify(changed));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  async function down(): Promise<void> {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  return {
    url: `http://127.0.0.1:${port}`,
    forwardTo: (url) => resolveTarget(url),
    fail: (method, fault) => void faults.set(method, fault),
    failAll: (fault) => {
      everything = fault;
    },
    repair: () => {
      faults.clear();
      everything = undefined;
    },
    calls: (method) => {
      const count = counts.get(method) ?? 0;
      counts.delete(method);
      return count;
    },
    down,
    up: async () => {
      if (server.listening) return;
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    close: async () => {
      resolveTarget("http://127.0.0.1:9");
      await down();
    },
  };
}
