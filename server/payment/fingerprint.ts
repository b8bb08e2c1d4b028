import { hash } from "node:crypto";

/**
 * Identifies the request that a payment or an idempotency key stands for, SHA-256 (hex). `query` with its `?`, or empty.
 * `beneficiary`: credit for another account is another request. `range`: so is another part of a file.
 */
export function fingerprint(call: {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly body: Buffer;
  readonly beneficiary?: string | undefined;
  readonly range?: string | undefined;
}): string {
  const body = hash("sha256", call.body, "hex");
  const parts: unknown[] = [call.method, call.path, call.query, body];
  if (call.beneficiary !== undefined) parts.push(call.beneficiary);
  if (call.range !== undefined) parts.push({ range: call.range });
  return hash("sha256", JSON.stringify(parts), "hex");
}

/** The query of a request target with its `?`, or empty. */
export function queryOf(url: string | undefined): string {
  const start = url?.indexOf("?") ?? -1;
  return url === undefined || start === -1 ? "" : url.slice(start);
}
