import type { PaymentRecord } from "../ledger/ledger.ts";
import { ChainError, type LandedTransaction } from "../payment/chain.ts";
import type { NodePool } from "../payment/node-pool.ts";
import { judgePayment } from "../payment/verdict.ts";

/**
 * How a record that says its money moved differs from the chain.
 * `transaction_missing`: it names no transaction. `transaction_not_found`: no node shows it, and it can no longer land.
 * `transaction_failed`: it landed and moved nothing. `wrong_transaction`: it names another payment's, or not the one that moved the
 * money. `wrong_recipient`: payTo gained nothing of the asset. `wrong_amount`: payTo gained another amount.
 */
export type RecordProblem =
  | "transaction_missing"
  | "transaction_not_found"
  | "transaction_failed"
  | "wrong_transaction"
  | "wrong_recipient"
  | "wrong_amount";

/** Beyond it a payment without a known claim height has certainly expired, whatever the clocks say. */
const SURELY_EXPIRED_MS = 3_600_000;

/**
 * Compares a settled, delivered or credited record with the chain. `undecided`: no node shows its transaction, and it may still
 * appear. Throws {@link ChainError} if no node can tell.
 */
export async function compareRecord(
  nodes: NodePool,
  record: PaymentRecord,
  asset: string,
  now: number,
): Promise<RecordProblem | "matches" | "undecided"> {
  const { transaction } = record;
  if (transaction === undefined) return "transaction_missing";
  const landed = await showTransaction(nodes, transaction);
  if (landed !== undefined) return compareLanded(record, landed, asset);
  // An asset that does not exist was never paid in.
  if (record.asset !== asset && (await nodes.ask((node) => node.mint(record.asset))) === undefined) {
    return "transaction_not_found";
  }
  const old = record.claimHeight === undefined && now - record.createdAt > SURELY_EXPIRED_MS;
  let fault: unknown;
  const verdict = await judgePayment(nodes, old ? { ...record, claimHeight: 0n } : record, (error) => {
    fault = error;
  });
  if (verdict.verdict === "settled") return "wrong_transaction";
  if (verdict.verdict === "absent") return "transaction_not_found";
  if (verdict.reason === "chain_unavailable") throw fault ?? new ChainError("No node could tell.");
  return "undecided";
}

/** Compares a record with the transaction it names. Of another asset than USDC the chain does not know what it was worth. */
export function compareLanded(
  record: PaymentRecord,
  landed: LandedTransaction,
  usdc: string,
): RecordProblem | "matches" {
  if (landed.id !== record.id) return "wrong_transaction";
  if (landed.failed) return "transaction_failed";
  const gained = gainOf(landed, record.payTo, record.asset);
  if (gained <= 0n) return "wrong_recipient";
  if (record.asset === usdc && record.amount !== record.assetAmount) return "wrong_amount";
  return gained === record.assetAmount ? "matches" : "wrong_amount";
}

/** What an owner gained of a mint; 0n if it took no part. */
export function gainOf(landed: LandedTransaction, owner: string, mint: string): bigint {
  return landed.changes.find((each) => each.owner === owner && each.mint === mint)?.change ?? 0n;
}

/** A node that does not know a transaction may only be behind, or keep less: the others are asked too. */
async function showTransaction(nodes: NodePool, signature: string): Promise<LandedTransaction | undefined> {
  let fault: unknown;
  let answered = false;
  for (const node of nodes.inOrder()) {
    try {
      const landed = await node.transaction(signature);
      if (landed !== undefined) return landed;
      answered = true;
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      fault = error;
    }
  }
  if (answered) return undefined;
  throw fault ?? new ChainError("There is no node to ask.");
}
