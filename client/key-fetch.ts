import { watchBody, withHeader } from "./answer-body.ts";
import { FareboxError } from "./farebox-error.ts";
import { type Call, callOf, type Payment, paymentFor, readCall, withPayment } from "./payment.ts";
import {
  brokenOff,
  type Caller,
  fetchOnce,
  type PaidAnswer,
  type SendOptions,
  sendUntilAnswered,
} from "./send-until-answered.ts";

export interface KeyFetchOptions extends SendOptions {
  readonly apiKey: string;
  /** The only one that the key is sent to. */
  readonly origin: string;
}

/**
 * Makes calls with an API key. A POST gets an `Idempotency-Key`, unless it has one, and is sent again under it as a payment would
 * be, so that it is charged once. Throws {@link FareboxError} `wrong_origin`, `unreachable`, `outcome_unknown`.
 */
export function createKeyFetch(options: KeyFetchOptions): Caller {
  async function send(call: Call, payment: Payment): Promise<PaidAnswer> {
    const paid = withKey(withPayment(call, payment), options);
    const { response, verdict } = await sendUntilAnswered(paid, payment, options, () => {});
    if (verdict === "spent") return { response: withHeader(response, "x-should-retry", "false"), payment };
    if (verdict !== "served") return { response, payment };
    const { signal } = call.init;
    const onBreak = (fault: unknown) => (signal.aborted ? signal.reason : brokenOff(fault, payment));
    return { response: watchBody(response, onBreak), payment };
  }

  return {
    async ask(input, init) {
      const call = await readCall(input, init);
      if (call.init.method !== "POST") {
        return { response: await fetchOnce(withKey(call, options), options), payment: undefined };
      }
      const idempotencyKey = call.init.headers.get("idempotency-key") ?? crypto.randomUUID();
      return send(call, paymentFor(call, { "Idempotency-Key": idempotencyKey }, Date.now()));
    },
    resume: async (payment, signal) => send(callOf(payment, signal), payment),
    unfinished: () => [],
  };
}

function withKey({ url, init }: Call, { apiKey, origin }: KeyFetchOptions): Call {
  if (new URL(url).origin !== origin) {
    throw new FareboxError("wrong_origin", `The key is for ${origin}; it was not sent elsewhere.`);
  }
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${apiKey}`);
  return { url, init: { ...init, headers } };
}
