import type { ServerResponse } from "node:http";
import type { Done } from "./response-methods.ts";

/** What a handler wrote and nobody was sent yet: the bytes, its callbacks, and the 'drain' that it waits for. */
export interface HeldAnswer {
  readonly bytes: number;
  readonly owesDrain: boolean;
  add(chunk: Buffer): void;
  /** The callback is called when the bytes were sent, or dropped; the handler may wait for 'drain' as well. */
  await(done: Done, drain: boolean): void;
  /** Sends it all by the response's own methods, and ends it if the handler has. False = the client does not take it. */
  send(res: ServerResponse, ended: boolean): boolean;
  /** It will not be sent: whoever waits goes on. */
  drop(res: ServerResponse): void;
}

export function createHeldAnswer(): HeldAnswer {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let callbacks: Done[] = [];
  let owesDrain = false;

  const takeCallbacks = (): Done => {
    const taken = callbacks;
    callbacks = [];
    return (error) => {
      for (const callback of taken) callback(error);
    };
  };
  const drain = (res: ServerResponse): void => {
    if (owesDrain) process.nextTick(() => res.emit("drain"));
    owesDrain = false;
  };

  return {
    get bytes() {
      return bytes;
    },
    get owesDrain() {
      return owesDrain;
    },
    add(chunk) {
      chunks.push(chunk);
      bytes += chunk.length;
    },
    await(done, forDrain) {
      callbacks.push(done);
      owesDrain ||= forDrain;
    },
    send(res, ended) {
      const held = Buffer.concat(chunks, bytes);
      chunks = [];
      const done = takeCallbacks();
      if (ended) {
        // Trailers need a body in chunks; without bytes, a length that the handler declared (304) stays as it is.
        if (held.length === 0) res.end(done);
        else if (res.hasHeader("trailer")) {
          res.write(held);
          res.end(done);
        } else res.end(held, done);
        return true;
      }
      const flowing = held.length === 0 || res.write(held, done);
      if (held.length === 0) {
        res.flushHeaders();
        acknowledge(done);
      }
      if (flowing) drain(res);
      return flowing;
    },
    drop(res) {
      chunks = [];
      acknowledge(takeCallbacks());
      drain(res);
    },
  };
}

/** Calls back as Node does, after the caller. Returns what `write` says when there is no need to wait. */
export function acknowledge(done: Done): true {
  process.nextTick(done);
  return true;
}
