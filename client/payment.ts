import { z } from "zod";
import { fromBase64, toBase64 } from "./base64.ts";
import { FareboxError } from "./farebox-error.ts";

/** What {@link Payment} is, for whoever reads one back. */
export const paymentSchema = z.object({
  method: z.string(),
  url: z.url({ protocol: /^https?$/ }),
  /** `PAYMENT-SIGNATURE` or `Idempotency-Key`, what the body is, and which part was asked for. */
  headers: z.record(z.string(), z.string()),
  /** Base64. */
  body: z.base64().nullable(),
  /** Milliseconds since 1970. */
  signedAt: z.number(),
  /** The call had an `Authorization` header beside its payment. What it said is not kept here. */
  authorized: z.boolean().optional(),
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

/** A server takes another part of a file for another request. */
const PART_HEADERS = ["range", "if-range"];
const KEPT_HEADERS = ["content-type", "accept", ...PART_HEADERS];

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
  const authorized = init.headers.has("authorization") ? { authorized: true } : {};
  return { method: init.method, url, headers: Object.fromEntries(kept), body, signedAt, ...authorized };
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

/** Whether two calls are the same to the server, but for an `Authorization` header: method, URL, body and the part of a file. */
export function isPaymentFor({ url, init }: Call, payment: Payment): boolean {
  if (payment.url !== url || payment.method !== init.method) return false;
  const body = init.body === null ? null : toBase64(init.body);
  const isSamePart = PART_HEADERS.every(
    (name) => (payment.headers[name] ?? "") === (init.headers.get(name) ?? ""),
  );
  return payment.body === body && isSamePart;
}
