import { join } from "node:path";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import type { Ledger, PaymentState } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { createNodePool } from "../../server/payment/node-pool.ts";
import { createReconciler } from "../../server/payment/reconcile.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import type { Shop } from "../support/shop.ts";

const FILE = "ledger.sqlite";

/** What is written of a payment, read from outside the process that writes. */
export function writtenState(shop: Shop, id: string): PaymentState | undefined {
  const db = openLasting(join(shop.dataDir, FILE), { readonly: true });
  try {
    return db.prepare<[string], PaymentState>("SELECT state FROM payment WHERE id = ?").pluck().get(id);
  } finally {
    db.close();
  }
}

/** How many payments are still to be decided by somebody. */
export function undecided(shop: Shop): number {
  const db = openLasting(join(shop.dataDir, FILE), { readonly: true });
  try {
    const count = "SELECT count(*) FROM payment WHERE state IN ('settling', 'unknown') OR watched = 1";
    return db.prepare<[], number>(count).pluck().get() ?? 0;
  } finally {
    db.close();
  }
}

/** Lets the lease of one payment run out now, as if its time had passed. */
export function endLease(shop: Shop, id: string): void {
  const db = openLasting(join(shop.dataDir, FILE));
  try {
    const { leaseMs } = shop.config.payment;
    db.prepare("UPDATE payment SET lease_until = lease_until - ? WHERE id = ?").run(leaseMs, id);
  } finally {
    db.close();
  }
}

/** A ledger and its reconciler, some time after the gateway died. */
export interface Aftermath {
  readonly ledger: Ledger;
  /** One round of the reconciler, `aheadMs` after now. */
  sweep(aheadMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Opens the ledger with a clock that can be put ahead: what a gateway's reconciler would do by then. */
export async function openAftermath(shop: Shop): Promise<Aftermath> {
  const { config, dataDir, localnet } = shop;
  const faults: unknown[] = [];
  let ahead = 0;
  const ledger = await openSqliteLedger({
    path: join(dataDir, FILE),
    network: config.caip2,
    clock: () => Date.now() + ahead,
    onFatal: (error) => faults.push(error),
  });
  const reconciler = createReconciler({
    ledger,
    nodes: createNodePool({
      nodes: [createRpcChain({ url: localnet.rpcUrl, timeoutMs: 5_000, asset: config.asset })],
      onState: () => {},
    }),
    leaseMs: config.payment.leaseMs,
    intervalMs: 5_000,
    abandonedMs: config.payment.storeResponseTtlMs,
    strikeMs: 0,
    onDecided: () => {},
    onCredited: () => {},
    onBacklog: () => {},
    onFault: (error) => faults.push(error),
  });
  return {
    ledger,
    sweep: async (aheadMs) => {
      ahead = aheadMs;
      await reconciler.sweep();
      if (faults.length > 0) throw new AggregateError(faults, "the sweep met faults");
    },
    close: async () => {
      await reconciler.close();
      await ledger.close();
    },
  };
}
