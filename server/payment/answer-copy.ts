import type { ServerResponse } from "node:http";
import type { StoredResponse } from "./charge.ts";

/** Headers that belong to one connection or one payment and are made anew for each replay. */
const NOT_STORED = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "date",
  "set-cookie",
  "payment-response",
  "x-payment-response",
]);

/** A bounded copy of an answer on its way out, kept for a retry of the same payment; given up when it grows too large. */
export interface AnswerCopy {
  add(chunk: Buffer): void;
  readonly overflowed: boolean;
  /** The whole answer, or undefined if it was too large. Call once the answer is complete. */
  take(res: ServerResponse): StoredResponse | undefined;
}

export function createAnswerCopy(maxBytes: number): AnswerCopy {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let overflowed = maxBytes === 0;
  return {
    add(chunk) {
      bytes += chunk.length;
      if (bytes > maxBytes) overflowed = true;
      if (overflowed) chunks = [];
      else chunks.push(chunk);
    },
    get overflowed() {
      return overflowed;
    },
    take(res) {
      if (overflowed) return undefined;
      const headers = Object.entries(res.getHeaders()).flatMap(([name, value]): [string, string][] =>
        NOT_STORED.has(name) || value === undefined ? [] : [[name, String(value)]],
      );
      return { status: res.statusCode, headers, body: Buffer.concat(chunks, bytes) };
    },
  };
}
