import { ERRORS, type ErrorCode } from "./error-codes.ts";
import type { Dialect } from "./routes.ts";

export { ERRORS, type ErrorCode };

export interface GatewayErrorOptions {
  readonly cause?: unknown;
  /** Replaces the table's message; for facts the caller needs, such as which field is wrong. */
  readonly message?: string;
  /** Added to the body under `error.details`. Never an upstream's or a facilitator's text. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Seconds, for the `Retry-After` header. */
  readonly retryAfterSeconds?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The one error class: a code of {@link ERRORS}, and what the caller must know besides. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly #texts: { [D in Dialect]?: string } = {};

  constructor(code: ErrorCode, options: GatewayErrorOptions = {}) {
    // A refusal says all in its code; collecting the stack of each would be a good part of what a flood of them costs.
    const { stackTraceLimit } = Error;
    if (ERRORS[code].status < 500) Error.stackTraceLimit = 0;
    super(options.message ?? ERRORS[code].message, { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "GatewayError";
    this.code = code;
    this.status = ERRORS[code].status;
    this.details = options.details;
    this.headers =
      options.retryAfterSeconds === undefined
        ? (options.headers ?? {})
        : { "Retry-After": String(options.retryAfterSeconds), ...options.headers };
  }

  /** Its body as JSON, written once for each dialect: a refusal that is the same for many is one object. */
  text(dialect: Dialect): string {
    const text = this.#texts[dialect] ?? JSON.stringify(errorBody(this, dialect));
    this.#texts[dialect] = text;
    return text;
  }
}

/** The body of an error in a mount's dialect (design: section 7). */
export function errorBody(error: GatewayError, dialect: Dialect): Record<string, unknown> {
  const { type } = ERRORS[error.code];
  const details = error.details === undefined ? {} : { details: error.details };
  if (dialect === "numeric") {
    return { error: { code: error.status, message: error.message, type, reason: error.code, ...details } };
  }
  return { error: { message: error.message, type, code: error.code, param: null, ...details } };
}
