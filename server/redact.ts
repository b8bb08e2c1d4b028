/**
 * Takes secrets out of what is logged. By the names of keys at any depth, because whoever logs an object does not know
 * all that is in it; and by their look inside texts, because error messages quote what they were given.
 */

const REDACTED = "[redacted]";
/** In any spelling: `authorization`, `X-PAYMENT`, `set-cookie`, `apiKey`, `API_KEY`, `cdpKeySecret`, `accessToken`. */
const SECRET_KEY =
  /(?:authorization|payment-?signature|x-?payment|payment-?required|cookie|api[-_]?key|master-?keys?|session-?keys?|sign-in-with-x|provider-?key|pepper|password|secrets?|token)$/i;
const CREDENTIALS = /\b(bearer|basic) +[\w.~+/=-]+/gi;
const URL_USER = /(:\/\/)[^\s/@]+(?=@)/g;
const URL_QUERY = /([?&](?:api[-_]?key|key|secret|(?:access[-_]?)?token)=)[^&\s"']+/gi;
/** Of an account's webhook. */
const WEBHOOK_SECRET = /whsec_[\w-]{30,}/g;
/** A key of any prefix that can be configured, whose tail is longer than that of any id of ours. */
const API_KEY = /[\w-]{2,31}[_-][0-9A-Za-z]{30,}/g;
/** Three base64url parts, of which the first is the beginning of a JSON object. */
const JWT = /ey[JA][\w-]{5,}\.[\w-]+\.[\w-]*/g;
const MAX_DEPTH = 6;

/** A copy without secrets, fit for JSON: plain objects and lists are walked, anything else is named by its class. */
function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) return "[deep]";
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof URL) return redactText(value.href);
  if (Array.isArray(value)) return redactList(value, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `[${value.constructor.name}]`;
  return redactFields(value, depth);
}

/** The same for the fields of one line. */
export function redactFields(fields: object, depth = 0): Record<string, unknown> {
  const entries = Object.entries(fields).map(([key, value]: [string, unknown]) => [
    key,
    value !== undefined && SECRET_KEY.test(key) ? REDACTED : redact(value, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

/** A text without bearer credentials, keys and tokens, and without the credentials of URLs. */
export function redactText(text: string): string {
  return text
    .replace(CREDENTIALS, `$1 ${REDACTED}`)
    .replace(JWT, REDACTED)
    .replace(WEBHOOK_SECRET, REDACTED)
    .replace(API_KEY, REDACTED)
    .replace(URL_USER, `$1${REDACTED}`)
    .replace(URL_QUERY, `$1${REDACTED}`);
}

/** Only what says what happened: libraries hang whole requests, headers included, on their errors. */
function redactError(error: Error, depth: number): Record<string, unknown> {
  return {
    type: error.name,
    message: redactText(error.message),
    ...("code" in error ? { code: redact(error.code, depth + 1) } : {}),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}

/** Raw headers are lists in which a value follows its name. */
function redactList(list: readonly unknown[], depth: number): readonly unknown[] {
  return list.map((item, index) => {
    const name = list[index - 1];
    return typeof name === "string" && SECRET_KEY.test(name) ? REDACTED : redact(item, depth + 1);
  });
}
