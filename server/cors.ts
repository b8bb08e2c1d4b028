import type { ServerResponse } from "node:http";

const EXPOSED = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After";

/** Sent with every answer of a priced route: any origin may pay and read the payment headers. */
export const CORS_HEADERS: readonly string[] = [
  "Access-Control-Allow-Origin",
  "*",
  "Access-Control-Expose-Headers",
  EXPOSED,
];

const OURS: ReadonlySet<string> = new Set(CORS_HEADERS);

/**
 * What a browser may send. No `Authorization`: keys do not belong in browsers. The official clients send
 * `Access-Control-Expose-Headers` as a request header, so it must be allowed too.
 */
const ALLOWED_REQUEST_HEADERS =
  "Content-Type, Accept, PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X, Access-Control-Expose-Headers";

/** An app's own policy, set before us, stays; what it exposes, it exposes beside ours. */
export function setCorsHeaders(res: ServerResponse): void {
  for (let index = 0; index + 1 < CORS_HEADERS.length; index += 2) {
    setBeside(res, CORS_HEADERS[index] ?? "", CORS_HEADERS[index + 1] ?? "");
  }
}

/** Sets a header where it is none of an app's own policy that is there already. */
export function setBeside(res: ServerResponse, name: string, value: string): void {
  const own = OURS.has(name) ? res.getHeader(name) : undefined;
  if (own === undefined) res.setHeader(name, value);
  else if (value === EXPOSED && !String(own).includes(EXPOSED))
    res.setHeader(name, `${String(own)}, ${EXPOSED}`);
}

/** Answers a preflight for a priced path. */
export function answerPreflight(res: ServerResponse, methods: readonly string[]): void {
  res.writeHead(204, {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": [...methods, "OPTIONS"].join(", "),
    "Access-Control-Allow-Headers": ALLOWED_REQUEST_HEADERS,
    "Access-Control-Max-Age": "86400",
    Allow: [...methods, "OPTIONS"].join(", "),
  });
  res.end();
}
