import { errorMonitor } from "node:events";
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";

/**
 * Tells when something that is piped into a response breaks off: `pipe` then neither ends the response nor says so, and its client
 * waits for the rest. The handler may still go on by other means. What was unpiped before is no longer watched.
 */
export function watchSources(res: ServerResponse, onBroken: () => void): void {
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
