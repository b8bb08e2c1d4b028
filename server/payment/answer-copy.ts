import type { ServerResponse } from "node:http";
import type { StoredResponse } from "./charge.ts";

/** Headers that belong to one connection, one payment or one moment of a key, and are true of no replay. */
const NOT_STORED = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "trailer",
  "date",
  "set-cookie",
  "payment-response",
  "x-payment-response",
  "ratelimit-limit",
  "ratelimit-remaining",
  "ratelimit-reset",
]);

/** A bounded copy of an answer on its way out, kept for a retry of the same payment; given up when it grows too large. */
export class AnswerCopy {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #overflowed: boolean;
  #kept: Pick<StoredResponse, "status" | "headers"> | undefined;
  #taken: StoredResponse | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#overflowed = maxBytes === 0;
  }

  get overflowed(): boolean {
    return this.#overflowed;
  }

  /**
   * Status and headers as the handler left them. Call before they are sent: a middleware that compresses changes them then,
   * and does the same to the replay.
   */
  head(res: ServerResponse): void {
    if (this.#overflowed || this.#taken !== undefined) return;
    const headers = Object.entries(res.getHeaders()).flatMap(([name, value]): [string, string][] =>
      NOT_STORED.has(name) || value === undefined ? [] : [[name, String(value)]],
    );
    this.#kept = { status: res.statusCode, headers };
  }

  add(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) this.discard();
    if (!this.#overflowed) this.#chunks.push(chunk);
  }

  /** The answer will not be whole, or is too large: keep none of it. */
  discard(): void {
    this.#overflowed = true;
    this.#chunks = [];
    this.#taken = undefined;
  }

  /** The whole answer, or undefined if it was too large. Call once the answer is complete; the first call fixes it. */
  take(): StoredResponse | undefined {
    if (this.#overflowed || this.#kept === undefined) return undefined;
    const { status, headers } = this.#kept;
    this.#taken ??= { status, headers, body: Buffer.concat(this.#chunks, this.#bytes) };
    return this.#taken;
  }
}
