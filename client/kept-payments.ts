import { type Call, isPaymentFor, type Payment } from "./payment.ts";

/** Older than the longest time a server keeps an answer for: whatever it was, it is decided. */
const FORGET_AFTER_MS = 3_600_000;

export interface KeptPayments {
  /** Takes out a payment that was made for this very call and has no end yet. */
  take(call: Call): Promise<Payment | undefined>;
  /** `unspent`: it need not be kept once it has not landed and no longer can. */
  keep(payment: Payment, unspent: boolean): void;
  drop(payment: Payment): void;
  list(): readonly Payment[];
}

/**
 * Signed payments without an end, in memory, for an hour. An equal call (method, URL, body) pays with one of them, so that a
 * retry above this client (an SDK's, an application's) is no second payment.
 * Race: a payment is in one running call or in here, never in two; of two equal calls at once the second pays for itself.
 */
export function createKeptPayments(
  isOver: (payment: Payment) => Promise<boolean>,
  now: () => number,
): KeptPayments {
  let kept: { readonly payment: Payment; readonly unspent: boolean }[] = [];
  return {
    async take(call) {
      for (;;) {
        const found = kept.find(({ payment }) => isPaymentFor(call, payment));
        if (found === undefined) return undefined;
        kept = kept.filter((one) => one !== found);
        if (!found.unspent || !(await isOver(found.payment))) return found.payment;
      }
    },
    keep(payment, unspent) {
      const oldest = now() - FORGET_AFTER_MS;
      kept = [...kept.filter((one) => one.payment.signedAt > oldest), { payment, unspent }];
    },
    drop(payment) {
      const dropped = JSON.stringify(payment.headers);
      kept = kept.filter((one) => JSON.stringify(one.payment.headers) !== dropped);
    },
    list: () => kept.map(({ payment }) => payment),
  };
}
