import { type Call, isPaymentFor, type Payment } from "./payment.ts";

/** Older than the longest time a server keeps an answer for: whatever it was, it is decided. */
const FORGET_AFTER_MS = 3_600_000;

export interface KeptPayments {
  /** Takes out a payment that was made for this very call and has no end yet. */
  take(call: Call): Promise<Payment | undefined>;
  /** `unspent`: it need not be kept once it has not landed and no longer can. */
  keep(call: Call, payment: Payment, unspent: boolean): void;
  /** The `Authorization` header of the call that it was kept for; undefined: there was none, or it was not kept. */
  drop(payment: Payment): string | undefined;
  list(): readonly Payment[];
}

/**
 * Signed payments without an end, in memory, for an hour. An equal call pays with one of them, so that a retry above this client
 * (an SDK's, an application's) is no second payment. Under another `Authorization` header it is another call: what a top-up
 * pays for is the account that this names.
 * Race: a payment is in one running call or in here, never in two; of two equal calls at once the second pays for itself.
 */
export function createKeptPayments(
  isOver: (payment: Payment) => Promise<boolean>,
  now: () => number,
): KeptPayments {
  let kept: {
    readonly payment: Payment;
    readonly unspent: boolean;
    readonly authorization: string | undefined;
  }[] = [];
  return {
    async take(call) {
      const asked = authorizationOf(call);
      for (;;) {
        const found = kept.find(
          ({ payment, authorization }) => authorization === asked && isPaymentFor(call, payment),
        );
        if (found === undefined) return undefined;
        kept = kept.filter((one) => one !== found);
        if (!found.unspent || !(await isOver(found.payment))) return found.payment;
      }
    },
    keep(call, payment, unspent) {
      const oldest = now() - FORGET_AFTER_MS;
      const authorization = authorizationOf(call);
      kept = [...kept.filter((one) => one.payment.signedAt > oldest), { payment, unspent, authorization }];
    },
    drop(payment) {
      const headers = JSON.stringify(payment.headers);
      const isIt = (one: { readonly payment: Payment }) => JSON.stringify(one.payment.headers) === headers;
      const found = kept.find(isIt);
      kept = kept.filter((one) => !isIt(one));
      return found?.authorization;
    },
    list: () => kept.map(({ payment }) => payment),
  };
}

function authorizationOf({ init }: Call): string | undefined {
  return init.headers.get("authorization") ?? undefined;
}
