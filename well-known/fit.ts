import type { JsonObject } from "./types.ts";

/** Crawlers stop reading a document here. */
export const DOCUMENT_MAX_BYTES = 256 * 1024;

/** How much a document tells. `brief` leaves out examples and the inner parts of schemas. */
export type Detail = "full" | "brief";

/** Bytes of the value as compact JSON. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** The first candidate of at most `maxBytes` of JSON; undefined when none is that small. */
export function firstWithin(
  maxBytes: number,
  candidates: readonly (() => JsonObject)[],
): JsonObject | undefined {
  for (const build of candidates) {
    const candidate = build();
    if (jsonBytes(candidate) <= maxBytes) return candidate;
  }
  return undefined;
}
