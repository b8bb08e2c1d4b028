import { errorMonitor } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { closedByUs } from "./who-broke-it.ts";

/** A client that has not read for so long does not read; one whose source is faster than it is takes more within that. */
const NOT_READING_MS = 2_000;
/** A client that has not read for so long may have brought about whatever breaks off then, or later: sources have time limits. */
const HELD_UP_MS = 10_000;

/** Whether an answer still comes from where the handler takes it, and whether its client reads it. */
export class AnswerFlow {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  #unpiped = false;
  #brokeOff = false;
  /** Monotonic. */
  #stalledSince: number | undefined;
  #heldUp = false;

  /** `onUnpipe`: what was piped into the response stopped. */
  constructor(req: IncomingMessage, res: ServerResponse, onUnpipe: () => void) {
    this.#req = req;
    this.#res = res;
    res.on("drain", () => this.sent(true));
    watchSources(res, () => this.#onBroken());
    res.on("unpipe", () => {
      this.#unpiped = true;
      onUnpipe();
    });
  }

  /** What was piped into the response stopped: nothing more will come. */
  get unpiped(): boolean {
    return this.#unpiped;
  }

  /** What was piped into the response broke off by itself, and nothing has been written since. */
  get brokeOff(): boolean {
    return this.#brokeOff;
  }

  /** The client does not read what was sent, or did not for so long that a break may be its doing. */
  get heldUp(): boolean {
    return this.#heldUp || this.#hasStalled(NOT_READING_MS);
  }

  /** The same, but it has not read for so long in any case. */
  get heldUpLong(): boolean {
    return this.#heldUp || this.#hasStalled(HELD_UP_MS);
  }

  /** The handler has written. */
  written(): void {
    this.#brokeOff = false;
  }

  /** Bytes were given to the connection; `flowing`: it takes more. */
  sent(flowing: boolean): void {
    if (!flowing) {
      this.#stalledSince ??= performance.now();
      return;
    }
    this.#heldUp ||= this.#hasStalled(HELD_UP_MS);
    this.#stalledSince = undefined;
  }

  /** By the client's leaving, or since it has not read for long, is the client's doing. */
  #onBroken(): void {
    if (this.#res.writableEnded || !closedByUs(this.#req)) return;
    this.#brokeOff = !this.heldUpLong;
  }

  #hasStalled(forMs: number): boolean {
    return this.#stalledSince !== undefined && performance.now() - this.#stalledSince >= forMs;
  }
}

/**
 * Tells when something that is piped into a response breaks off: `pipe` then neither ends the response nor says so, and its client
 * waits for the rest. The handler may still go on by other means. What was unpiped before is no longer watched.
 */
function watchSources(res: ServerResponse, onBroken: () => void): void {
  res.on("pipe", (source: Readable) => {
    const onEnd = (): void => {
      // Streams of the oldest kind do not tell whether they have ended.
      if (source.readableEnded === false) onBroken();
    };
    const onUnpipe = (from: Readable): void => {
      if (from !== source) return;
      source.off("close", onEnd).off(errorMonitor, onEnd);
      res.off("unpipe", onUnpipe);
    };
    // An error that nobody listens for is thrown, and then there is no 'close'.
    source.once("close", onEnd).once(errorMonitor, onEnd);
    res.on("unpipe", onUnpipe);
  });
}
