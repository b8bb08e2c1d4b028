import type { Logger } from "./log.ts";
import { requestLine } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { formatUsd, type MicroUsd } from "./money.ts";
import type { PaymentObserver } from "./payments.ts";

/** Tells the log and the metrics what happens to requests and payments. */
export function observePayments(log: Logger, metrics: Metrics): PaymentObserver {
  const price = rememberPrices();
  return {
    request(facts) {
      const { route, tier, status, ms, payer, account, transaction, code } = facts;
      metrics.request(route, tier, status, ms / 1000);
      requestLine(log, {
        method: route.slice(0, route.indexOf(" ")),
        route: route.slice(route.indexOf(" ") + 1),
        tier,
        price: price(facts.price),
        status,
        ms: Math.round(ms * 100) / 100,
        payer,
        account,
        transaction,
        code,
      });
    },
    state: (state) => metrics.payment(state),
    undecided: (count) => metrics.undecided(count),
    credited: (amount) => metrics.owed(amount),
    fault: (error, paymentId) => log.error({ err: error, paymentId }, "payment step failed"),
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
