import { setTimeout as wait } from "node:timers/promises";
import type { Ledger, PaymentRecord } from "../../server/ledger/ledger.ts";
import { createNodePool } from "../../server/payment/node-pool.ts";
import { createReconciler } from "../../server/payment/reconcile.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import type { BookedAccount, Books } from "./evidence.ts";
import { openRunLedger } from "./open-ledger.ts";
import { STORE_MS, type World } from "./world.ts";

const LEASE_MS = 15_000;
const PAGE = 1_000;
const ROUND_MS = 250;

/**
 * Brings everything that is open to its end, beside the gateways' own sweeps, for at most `limitMs`; then reads what the
 * ledger has of these payments and of every account.
 */
export async function closeBooks(world: World, payments: readonly string[], limitMs: number): Promise<Books> {
  const { network, asset, rpcUrl } = world.localnet;
  const ledger = await openRunLedger(world, network);
  try {
    const nodes = createNodePool({
      nodes: [createRpcChain({ url: rpcUrl, timeoutMs: 5_000, asset })],
      onState: () => undefined,
    });
    const reconciler = createReconciler({
      ledger,
      nodes,
      leaseMs: LEASE_MS,
      intervalMs: PAGE,
      abandonedMs: STORE_MS,
      strikeMs: 0,
      onDecided: () => undefined,
      onBacklog: () => undefined,
      onCredited: () => undefined,
      onFault: () => undefined,
    });
    const deadline = Date.now() + limitMs;
    for (;;) {
      await reconciler.sweep();
      while ((await ledger.sweepHolds()) > 0);
      if ((await isQuiet(ledger, payments)) || Date.now() > deadline) break;
      await wait(ROUND_MS);
    }
    return await readBooks(ledger, payments);
  } finally {
    await ledger.close();
  }
}

/** Nothing is left for anybody to decide, to free or to give back. */
async function isQuiet(ledger: Ledger, payments: readonly string[]): Promise<boolean> {
  if ((await ledger.listUndecided(1)).length > 0) return false;
  const accounts = await ledger.accounts();
  if (accounts.some(({ held }) => held > 0n)) return false;
  const records = await recordsOf(ledger, payments);
  return records.every((record) => record?.state !== "settled" && record?.watched !== true);
}

/** By one walk: to ask for each would be many questions. */
async function recordsOf(
  ledger: Ledger,
  payments: readonly string[],
): Promise<readonly (PaymentRecord | undefined)[]> {
  const found = new Map<string, PaymentRecord>();
  let after: string | undefined;
  do {
    const page = await ledger.payments(after, PAGE);
    for (const record of page.records) found.set(record.id, record);
    after = page.next;
  } while (after !== undefined);
  return payments.map((id) => found.get(id));
}

async function readBooks(ledger: Ledger, payments: readonly string[]): Promise<Books> {
  const records = await recordsOf(ledger, payments);
  const accounts: BookedAccount[] = [];
  // One after the other: all at once would take longer than the ledger waits for an answer.
  for (const { id, balance, held } of await ledger.accounts()) {
    accounts.push({ id, balance, held, journal: await ledger.journal(id) });
  }
  const discrepancies = await ledger.checkAccounts();
  return {
    payments: records.filter((record) => record !== undefined),
    accounts,
    undecided: (await ledger.listUndecided(PAGE)).length,
    discrepancies: discrepancies.map(
      ({ account, problem, recorded, computed }) => `${account}: ${problem}, ${recorded}, ${computed}`,
    ),
  };
}
