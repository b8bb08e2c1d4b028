import type { ServerResponse } from "node:http";
import type { Done } from "./response-methods.ts";

/** What a handler wrote and nobody was sent yet: the bytes, its callbacks, and the 'drain' that it waits for. */
export class HeldAnswer {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #callbacks: Done[] = [];
  #owesDrain = false;

  get bytes(): number {
    return this.#bytes;
  }

  get owesDrain(): boolean {
    return this.#owesDrain;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The callback is called when the bytes were sent, or dropped; the handler may wait for 'drain' as well. */
  await(done: Done, drain: boolean): void {
    this.#callbacks.push(done);
    this.#owesDrain ||= drain;
  }

  /** Sends it all by the response's own methods, and ends it if the handler has. False = the client does not take it. */
  send(res: ServerResponse, ended: boolean): boolean {
    const held = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [];
    const done = this.#takeCallbacks();
    if (ended) {
      // As `end` does with a callback. Not given to it: a middleware before us (a session, compression) takes the first argument for bytes.
      res.once("finish", done);
      // Trailers need a body in chunks; without bytes, a length that the handler declared (304) stays as it is.
      if (held.length === 0) res.end();
      else if (res.hasHeader("trailer") || hasTrailers(res)) {
        res.write(held);
        res.end();
      } else res.end(held);
      return true;
    }
    const flowing = held.length === 0 || res.write(held, done);
    if (held.length === 0) {
      res.flushHeaders();
      acknowledge(done);
    }
    flushOnward(res);
    if (flowing) this.#drain(res);
    return flowing;
  }

  /** It will not be sent: whoever waits goes on. */
  drop(res: ServerResponse): void {
    this.#chunks = [];
    acknowledge(this.#takeCallbacks());
    this.#drain(res);
  }

  #takeCallbacks(): Done {
    const taken = this.#callbacks;
    this.#callbacks = [];
    return (error) => {
      for (const callback of taken) callback(error);
    };
  }

  #drain(res: ServerResponse): void {
    if (this.#owesDrain) process.nextTick(() => res.emit("drain"));
    this.#owesDrain = false;
  }
}

/** Whoever compresses before us keeps bytes until the handler calls `res.flush()`; for what was held it has called already. */
function flushOnward(res: ServerResponse): void {
  if ("flush" in res && typeof res.flush === "function") res.flush();
}

/** Node's own list, which it sends also where no header has announced them. */
function hasTrailers(res: ServerResponse): boolean {
  return "_trailer" in res && res._trailer !== "";
}

/** Calls back as Node does, after the caller. Returns what `write` says when there is no need to wait. */
export function acknowledge(done: Done): true {
  process.nextTick(done);
  return true;
}
