import type { ServerResponse } from "node:http";
import type { StoredResponse } from "./charge.ts";

/** Headers that belong to one connection or one payment and are made anew for each replay. */
const NOT_STORED = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "trailer",
  "date",
  "set-cookie",
  "payment-response",
  "x-payment-response",
]);

/** A bounded copy of an answer on its way out, kept for a retry of the same payment; given up when it grows too large. */
export interface AnswerCopy {
  /**
   * Status and headers as the handler left them. Call before they are sent: a middleware that compresses changes them then,
   * and does the same to the replay.
   */
  head(res: ServerResponse): void;
  add(chunk: Buffer): void;
  readonly overflowed: boolean;
  /** The answer will not be whole: keep none of it. */
  discard(): void;
  /** The whole answer, or undefined if it was too large. Call once the answer is complete. */
  take(): StoredResponse | undefined;
}

export function createAnswerCopy(maxBytes: number): AnswerCopy {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let overflowed = maxBytes === 0;
  let kept: Pick<StoredResponse, "status" | "headers"> | undefined;
  return {
    head(res) {
      if (overflowed) return;
      const headers = Object.entries(res.getHeaders()).flatMap(([name, value]): [string, string][] =>
        NOT_STORED.has(name) || value === undefined ? [] : [[name, String(value)]],
      );
      kept = { status: res.statusCode, headers };
    },
    add(chunk) {
      bytes += chunk.length;
      if (bytes > maxBytes) overflowed = true;
      if (overflowed) chunks = [];
      else chunks.push(chunk);
    },
    get overflowed() {
      return overflowed;
    },
    discard() {
      overflowed = true;
      chunks = [];
    },
    take() {
      if (overflowed || kept === undefined) return undefined;
      return { ...kept, body: Buffer.concat(chunks, bytes) };
    },
  };
}
