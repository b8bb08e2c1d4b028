import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPaywall, type PaywallFactory, type PaywallOptions } from "../../server/index.ts";
import { type StandInRpc, startStandInRpc } from "../client/stand-in-rpc.ts";
import { type StubFacilitator, startStubFacilitator } from "../support/stub-facilitator.ts";

export const FEE_PAYER = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
export const MERCHANT = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
export const PUBLIC_URL = "https://shop.example";
export const SECRET = "a-secret-of-this-gateway-0123456789abcdef";

/** Somebody's own server with sold handlers: real HTTP and ledger, a facilitator that accepts whatever reaches it. */
export interface Stall {
  readonly url: string;
  readonly port: number;
  readonly facilitator: StubFacilitator;
  readonly rpc: StandInRpc;
  /** What handlers ran, in order; each handler pushes its own word. */
  readonly ran: string[];
  close(): Promise<void>;
}

/** `build` puts the handlers behind the paywall and returns what the server runs. `probe` is a path that is sold with GET. */
export async function openStall(
  probe: string,
  build: (paywall: PaywallFactory, ran: string[]) => RequestListener,
  options: Partial<PaywallOptions> = {},
): Promise<Stall> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "farebox-hostile-")));
  const facilitator = await startStubFacilitator({ feePayer: FEE_PAYER });
  const rpc = await startStandInRpc();
  const ran: string[] = [];
  const paywall = await createPaywall({
    network: "local",
    payTo: MERCHANT,
    publicUrl: PUBLIC_URL,
    facilitator: facilitator.url,
    rpcUrl: rpc.url,
    memoSecret: SECRET,
    logLevel: "silent",
    ...options,
    dataDir,
  });
  const server = createServer(build(paywall, ran));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  await termsKnown(url + probe);
  return {
    url,
    port,
    facilitator,
    rpc,
    ran,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await paywall.close();
      await facilitator.close();
      await rpc.close();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The facilitator is asked for its terms in the background; until it has answered, a 402 is a 503. */
export async function termsKnown(url: string, init?: RequestInit): Promise<void> {
  for (;;) {
    const response = await fetch(url, init);
    await response.arrayBuffer();
    if (response.status === 402) return;
    if (response.status !== 503) throw new Error(`expected 402 or 503, got ${response.status}`);
  }
}
