import type { IncomingHttpHeaders } from "node:http";

/** Each says one thing only: repeated, the first counts. The rest are lists, and their lines are one list (RFC 9110 §5.3). */
const SINGLE_VALUED: ReadonlySet<string> = new Set([
  "age",
  "content-disposition",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "date",
  "etag",
  "expires",
  "last-modified",
  "location",
  "refresh",
  "retry-after",
  "server",
]);

/**
 * An upstream's headers, each with one value, as Node gives them; `set-cookie` alone is a list, since its lines cannot be joined.
 * undici gives a header that came more than once as an array, whichever it is.
 */
export function oneOfEach(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, oneValue(name, value)]));
}

function oneValue(name: string, value: string | string[] | undefined): string | string[] | undefined {
  if (value === undefined) return undefined;
  if (name === "set-cookie") return [value].flat();
  if (!Array.isArray(value)) return value;
  return SINGLE_VALUED.has(name) ? value[0] : value.join(", ");
}
