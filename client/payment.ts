import { z } from "zod";
import { fromBase64, toBase64 } from "./base64.ts";
import { FareboxError } from "./farebox-error.ts";

/** What {@link Payment} is, for whoever reads one back. */
export const paymentSchema = z.object({
  method: z.string(),
  url: z.url({ protocol: /^https?$/ }),
  /** `PAYMENT-SIGNATURE` or `Idempotency-Key`, and what the body is. */
  headers: z.record(z.string(), z.string()),
  /** Base64. */
  body: z.base64().nullable(),
  /** Milliseconds since 1970. */
  signedAt: z.number(),
});

/**
 * A call that can be sent again without paying again: JSON, so that it can be kept across a restart. It holds no wallet and no
 * key, but whoever has it can ask for the answer that it paid for.
 */
export type Payment = Readonly<z.infer<typeof paymentSchema>>;

/** One request, its body read, so that every sending carries the same bytes. */
export interface Call {
  readonly url: string;
  readonly init: RequestInit & {
    readonly method: string;
    readonly headers: Headers;
    readonly body: Uint8Array<ArrayBuffer> | null;
    readonly signal: AbortSignal;
  };
}

const KEPT_HEADERS = ["content-type", "accept"];

/** Takes a request apart. The signal is the caller's own: the copy that a `Request` makes may be collected with it. */
export async function readCall(input: string | URL | Request, init: RequestInit | undefined): Promise<Call> {
  const signal = init?.signal ?? (input instanceof Request ? input.signal : new AbortController().signal);
  const request = new Request(input, init);
  const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer());
  const { url, method } = request;
  return { url, init: { method, headers: new Headers(request.headers), body, signal, redirect: "manual" } };
}

/** Binds what makes a call repeatable (headers) to that call. */
export function paymentFor(
  { url, init }: Call,
  credential: Readonly<Record<string, string>>,
  signedAt: number,
): Payment {
  const headers: Record<string, string> = {};
  for (const name of KEPT_HEADERS) headers[name] = init.headers.get(name) ?? "";
  const kept = Object.entries({ ...headers, ...credential }).filter(([, value]) => value !== "");
  const body = init.body === null ? null : toBase64(init.body);
  return { method: init.method, url, headers: Object.fromEntries(kept), body, signedAt };
}

/** The call with its payment; other headers of the call stay. */
export function withPayment(call: Call, payment: Payment): Call {
  const headers = new Headers(call.init.headers);
  for (const [name, value] of Object.entries(payment.headers)) headers.set(name, value);
  return { url: call.url, init: { ...call.init, headers } };
}

/** The call that a payment was made for. Throws {@link FareboxError} `invalid_payment` for what never was one. */
export function callOf(payment: Payment, signal: AbortSignal | undefined): Call {
  const parsed = paymentSchema.safeParse(payment);
  if (!parsed.success) throw new FareboxError("invalid_payment", "This is no payment of a FareboxError.");
  const { method, url, headers, body } = parsed.data;
  const bytes = body === null ? null : fromBase64(body);
  const own = signal ?? new AbortController().signal;
  return {
    url,
    init: { method, headers: new Headers(headers), body: bytes, signal: own, redirect: "manual" },
  };
}

/** Whether two calls are the same to the server: method, URL and body. */
export function isPaymentFor({ url, init }: Call, payment: Payment): boolean {
  const body = init.body === null ? null : toBase64(init.body);
  return payment.url === url && payment.method === init.method && payment.body === body;
}
