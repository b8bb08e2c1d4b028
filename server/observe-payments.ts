import type { Logger } from "./log.ts";
import { requestLine } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { formatUsd, type MicroUsd } from "./money.ts";
import type { NodePoolOptions, NodeState } from "./payment/node-pool.ts";
import type { PaymentObserver } from "./payments.ts";
import type { ReceiptObserver } from "./receipts/receipts.ts";

/** Tells the log and the metrics what happens to requests and payments. */
export function observePayments(log: Logger, metrics: Metrics): PaymentObserver {
  const price = rememberPrices();
  return {
    request(facts) {
      const { method, path, tier, status, ms, payer, account, transaction, code, heldBack } = facts;
      metrics.request(method, path, tier, status, ms / 1000);
      requestLine(log, {
        method,
        route: path,
        tier,
        price: price(facts.price),
        status,
        ms: Math.round(ms * 100) / 100,
        payer,
        account,
        transaction,
        code,
        heldBack: heldBack || undefined,
      });
      if (heldBack) metrics.heldBack();
    },
    state: (state) => metrics.payment(state),
    undecided: (count) => metrics.undecided(count),
    credited: (amount) => metrics.owed(amount),
    fault: (error, paymentId) => log.error({ err: error, paymentId }, "payment step failed"),
  };
}

/** Tells the log and the metrics of receipts; the answer goes out also where one could not be signed. */
export function observeReceipts(log: Logger, metrics: Metrics): ReceiptObserver {
  return {
    issued(error) {
      metrics.receipt(error === undefined ? "signed" : "failed");
      if (error !== undefined)
        log.error({ err: error }, "a receipt could not be signed: answered without one");
    },
  };
}

const LEDGER_NEWS_EVERY_MS = 10_000;

/** Tells the log that the ledger's server is away, now and then while it is. */
export function observeLedger(log: Logger): (error: Error) => void {
  let told = Number.NEGATIVE_INFINITY;
  return (error) => {
    const now = performance.now();
    if (now - told < LEDGER_NEWS_EVERY_MS) return;
    told = now;
    log.error({ err: error }, "the ledger cannot be reached: paid calls are refused until it can");
  };
}

const NODE_NEWS: Readonly<Record<NodeState, string>> = {
  ok: "the RPC node answers and keeps up again",
  lagging: "the RPC node lags: its block height is behind, so what it does not show is not taken for absent",
  failing: "the RPC node does not answer",
};

/** Tells the log and the metrics once for each change of a Solana node. Nodes are told apart by their place in `rpcUrl`, for a URL may hold a key. */
export function observeNodes(log: Logger, metrics: Metrics): NodePoolOptions["onState"] {
  return (node, state, error) => {
    metrics.node(node, state);
    const line = { node, ...(error === undefined ? {} : { err: error }) };
    log[state === "ok" ? "info" : "warn"](line, NODE_NEWS[state]);
  };
}

/** Prices repeat; writing one out costs more than finding it. */
function rememberPrices(): (amount: MicroUsd) => string {
  const known = new Map<MicroUsd, string>();
  return (amount) => {
    const found = known.get(amount);
    if (found !== undefined) return found;
    const text = formatUsd(amount);
    if (known.size < 10_000) known.set(amount, text);
    return text;
  };
}
