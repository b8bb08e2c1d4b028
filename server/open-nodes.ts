import type { Config } from "./config.ts";
import { createNodePool, type NodePool, type NodePoolOptions } from "./payment/node-pool.ts";
import { createRpcChain } from "./payment/rpc-chain.ts";

const RPC_TIMEOUT_MS = 5_000;

/** The Solana nodes of this configuration; undefined: none is configured. */
export function openNodes(
  { rpcUrls, asset, caip2: network }: Pick<Config, "rpcUrls" | "asset" | "caip2">,
  onState: NodePoolOptions["onState"],
): NodePool | undefined {
  if (rpcUrls.length === 0) return undefined;
  const nodes = rpcUrls.map((url) => createRpcChain({ url, timeoutMs: RPC_TIMEOUT_MS, asset, network }));
  return createNodePool({ nodes, onState });
}
