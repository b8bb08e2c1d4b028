import type { ServerResponse } from "node:http";
import { AnswerCopy } from "./answer-copy.ts";
import type { AnswerHead } from "./answer-head.ts";
import type { StoredResponse } from "./charge.ts";
import { createEventProbe, type EventProbe } from "./event-probe.ts";

export interface BodyOptions {
  readonly streamingTypes: readonly string[];
  /** Largest answer kept for a retry; 0 keeps none. */
  readonly keepBytes: number;
}

/** What the body of a handler's answer amounts to: its length, its copy for a retry, and of a stream whether it has said anything. */
export class AnswerBody {
  readonly #res: ServerResponse;
  readonly #head: AnswerHead;
  readonly #options: BodyOptions;
  readonly #copy: AnswerCopy;
  #probe: EventProbe | undefined | "unmade" = "unmade";
  /** As the handler gave them. */
  #bytes = 0;
  #sawEvent = false;

  constructor(res: ServerResponse, head: AnswerHead, options: BodyOptions) {
    this.#res = res;
    this.#head = head;
    this.#options = options;
    this.#copy = new AnswerCopy(options.keepBytes);
  }

  /** By its type it is a stream of events or lines. Call once the head is given. */
  get isStream(): boolean {
    return this.#streamProbe() !== undefined;
  }

  /** Of a stream: something has been said that is worth money. */
  get sawEvent(): boolean {
    return this.#sawEvent;
  }

  /** Too large to be kept for a retry. */
  get overflowed(): boolean {
    return this.#copy.overflowed;
  }

  /** Ended here, it would lack bytes that its head declares. */
  get isShort(): boolean {
    return this.#head.isShort(this.#bytes);
  }

  /** Bytes that are not sent yet. */
  hold(chunk: Buffer): void {
    this.#bytes += chunk.length;
    this.#copy.add(chunk);
    this.#sawEvent = this.#streamProbe()?.feed(chunk) ?? false;
  }

  /** Bytes on their way out. */
  passed(length: number, toBytes: () => Buffer): void {
    this.#bytes += length;
    if (!this.#copy.overflowed) this.#copy.add(toBytes());
  }

  /** Why what the handler gave is no answer; undefined: it is one, as far as it goes. */
  failure(ended: boolean): string | undefined {
    if (this.#head.isError) return "handler_failed";
    if (!ended) return undefined;
    if (this.#streamProbe()?.end() === false) return "stream_without_event";
    return this.#head.fits(this.#bytes) ? undefined : "wrong_content_length";
  }

  /** Status and headers for the copy, as the handler left them. Call before they are sent. */
  keepHead(): void {
    this.#copy.head(this.#head.asItWas());
  }

  /** The answer will not be whole: no copy is kept. */
  discard(): void {
    this.#copy.discard();
  }

  /** What a retry is given; undefined: it was too large. Call once the answer is complete. */
  whole(): StoredResponse | undefined {
    return this.#copy.take();
  }

  #streamProbe(): EventProbe | undefined {
    if (this.#probe === "unmade") {
      const type = String(this.#res.getHeader("content-type") ?? "");
      const encoding = String(this.#res.getHeader("content-encoding") ?? "identity");
      this.#probe = createEventProbe(type, encoding, this.#options.streamingTypes);
    }
    return this.#probe;
  }
}
