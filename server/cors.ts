import type { ServerResponse } from "node:http";

const EXPOSED = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After";

/** Sent with every answer of a priced route: any origin may pay and read the payment headers. */
export const CORS_HEADERS: readonly string[] = [
  "Access-Control-Allow-Origin",
  "*",
  "Access-Control-Expose-Headers",
  EXPOSED,
];

/**
 * What a browser may send. No `Authorization`: keys do not belong in browsers. The official clients send
 * `Access-Control-Expose-Headers` as a request header, so it must be allowed too.
 */
const ALLOWED_REQUEST_HEADERS =
  "Content-Type, Accept, PAYMENT-SIGNATURE, X-PAYMENT, SIGN-IN-WITH-X, Access-Control-Expose-Headers";

export function setCorsHeaders(res: ServerResponse): void {
  res.setHeader("Access-Control-Allow-Origin", "*");
  res.setHeader("Access-Control-Expose-Headers", EXPOSED);
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
