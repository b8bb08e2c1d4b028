import type { PaymentRecord, Verdict } from "../ledger/ledger.ts";
import { ChainError } from "./chain.ts";
import type { NodePool, PoolNode } from "./node-pool.ts";

/** A blockhash is valid for 150 blocks; beyond that a transaction that is not on the chain never will be. */
const BLOCKHASH_LIFETIME = 150n;

/** The chain's clock counts whole seconds. */
const BLOCK_TIME_UNIT_MS = 1_000;

/** Why a payment is undecided that a node which keeps up does not show. */
export const NOT_YET = "not_on_chain_yet";

/** `expired`: not there, and it can no longer land. `early`: not there yet. `lags`: not there, from a node that may not have seen it. */
type Look = Verdict | "expired" | "early" | "lags";

/**
 * What the chain says of a payment. Both questions of a look, the height and the search, go to one node.
 *
 * One node that shows the payment decides. `absent` needs a node that keeps up with the others and with the claim, whose
 * finalized height is beyond the claim's life and its block younger than the claim; then every other node that answers is asked too, and none may show it. A node
 * that fails or lags is passed over. `onFault` is told of each node that failed. Throws what is no ChainError.
 */
export async function judgePayment(
  nodes: NodePool,
  record: PaymentRecord,
  onFault: (error: unknown) => void,
): Promise<Verdict> {
  let expired = false;
  let reason = "chain_unavailable";
  for (const node of nodes.inOrder()) {
    try {
      const look = await lookAt(nodes, node, record);
      if (typeof look === "object") return look;
      if (look === "expired") expired = true;
      else reason = look === "lags" ? "node_lags" : NOT_YET;
      // It keeps up, and others can say no more than it.
      if (look === "early") return { verdict: "undecided", reason };
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      onFault(error);
    }
  }
  return expired ? { verdict: "absent", reason: "never_landed" } : { verdict: "undecided", reason };
}

async function lookAt(nodes: NodePool, node: PoolNode, record: PaymentRecord): Promise<Look> {
  const { claimHeight, createdAt } = record;
  // The height first: what is absent in a later search, at a height beyond its life, can no longer land.
  const finalized = await node.finalizedHeight();
  const finding = await node.find(record);
  if (finding.found === "settled") return { verdict: "settled", transaction: finding.transaction };
  if (finding.found === "failed") return { verdict: "absent", reason: "failed_on_chain" };
  const expired = claimHeight !== undefined && finalized > claimHeight + BLOCKHASH_LIFETIME;
  // Heights from before the search may be old by now (a machine that slept), and the others' would hide that this one lags.
  if (expired) await nodes.height();
  if (node.lags(claimHeight)) return "lags";
  // The claim's height may be this very node's: then only its blocks' own time tells that it is far behind.
  if (expired && (await node.finalizedAt()) + BLOCK_TIME_UNIT_MS <= createdAt) return "lags";
  return expired ? "expired" : "early";
}
