import type { ServerResponse } from "node:http";
import { CORS_HEADERS, setBeside, setCorsHeaders } from "../cors.ts";
import type { GatewayError } from "../errors.ts";
import type { Dialect } from "../routes.ts";
import type { Challenge } from "./challenge.ts";
import type { StoredResponse } from "./charge.ts";
import { forbidStoring } from "./response-head.ts";

/** A 402 with its terms. */
export function writeChallenge(res: ServerResponse, { headers, body }: Challenge): void {
  writeHead(res, 402, headers);
  res.end(body, "latin1");
}

/** Headers as a flat list, which Node writes out as it is: half the work of setting each. */
function writeHead(res: ServerResponse, status: number, headers: string[]): void {
  if (!Object.hasOwn(res, "writeHead") && res.getHeaderNames().length === 0) {
    res.writeHead(status, headers);
    return;
  }
  // Whoever before us has wrapped `writeHead` may not know flat lists (on-headers before 1.1 does not). And where headers are
  // set already (Express's own), Node removes and appends each of a list: setting them is a third of the work.
  for (let index = 0; index + 1 < headers.length; index += 2) {
    setBeside(res, headers[index] ?? "", headers[index + 1] ?? "");
  }
  res.statusCode = status;
}

/** An error in a mount's dialect, readable from any origin and cached nowhere. */
export function writeError(res: ServerResponse, dialect: Dialect, error: GatewayError): void {
  const body = error.text(dialect);
  const headers = [...CORS_HEADERS];
  for (const name in error.headers) headers.push(name, error.headers[name] ?? "");
  headers.push(
    "Content-Type",
    "application/json; charset=utf-8",
    "Cache-Control",
    "private, no-store",
    "Content-Length",
    String(Buffer.byteLength(body)),
  );
  writeHead(res, error.status, headers);
  res.end(body);
}

/** A 402 in a mount's dialect that also says how this one call can be paid by wallet. */
export function writeRefusal(
  res: ServerResponse,
  dialect: Dialect,
  error: GatewayError,
  challenge: Challenge | undefined,
): void {
  const terms = challenge === undefined ? undefined : paymentRequiredOf(challenge);
  if (terms !== undefined) res.setHeader("PAYMENT-REQUIRED", terms);
  writeError(res, dialect, error);
}

function paymentRequiredOf({ headers }: Challenge): string | undefined {
  return headers[headers.indexOf("PAYMENT-REQUIRED") + 1];
}

/** A stored answer again, with its proof of payment. */
export function writeStored(
  res: ServerResponse,
  response: StoredResponse,
  proof: Readonly<Record<string, string>>,
): void {
  if (res.closed) return;
  for (const [name, value] of response.headers) res.setHeader(name, value);
  for (const [name, value] of Object.entries(proof)) res.setHeader(name, value);
  setCorsHeaders(res);
  forbidStoring(res);
  res.statusCode = response.status;
  res.end(response.body);
}
