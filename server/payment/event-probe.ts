import { createParser } from "eventsource-parser";
import { createFrameReader } from "./stream-frames.ts";

/**
 * Reads the beginning of a stream and says when its first real event has passed: not a comment, not an error frame,
 * not a bare `[DONE]`, not a frame that only says that an answer begins. Until then nothing has been delivered and nothing is charged (design: the gate).
 */
export interface EventProbe {
  /** Feeds bytes; true once a real event has been seen. */
  feed(chunk: Buffer): boolean;
  /** The stream is complete: was there a real event? */
  end(): boolean;
}

/** A probe for a streaming media type, or undefined for one that is not in `streamingTypes`. */
export function createEventProbe(
  contentType: string,
  contentEncoding: string | undefined,
  streamingTypes: readonly string[],
): EventProbe | undefined {
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (!streamingTypes.includes(mediaType)) return undefined;
  // A compressed stream cannot be read here: its first bytes count.
  if (contentEncoding !== undefined && contentEncoding !== "identity") {
    return { feed: (chunk) => chunk.length > 0, end: () => true };
  }
  return mediaType === "text/event-stream" ? eventStreamProbe() : lineProbe();
}

function eventStreamProbe(): EventProbe {
  let seen = false;
  const saysSomething = createFrameReader();
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: ({ data, event }) => {
      seen ||= data !== "[DONE]" && saysSomething(data, event);
    },
  });
  return {
    feed(chunk) {
      if (!seen) parser.feed(decoder.decode(chunk, { stream: true }));
      return seen;
    },
    // A last event that lacks its blank line was read by the client all the same.
    end: () => {
      parser.feed("\n\n");
      return seen;
    },
  };
}

function lineProbe(): EventProbe {
  let seen = false;
  let rest = "";
  const saysSomething = createFrameReader();
  const decoder = new TextDecoder();
  const isReal = (line: string): boolean => line.trim() !== "" && saysSomething(line);
  return {
    feed(chunk) {
      if (seen) return true;
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      seen = lines.some(isReal);
      return seen;
    },
    end: () => seen || isReal(rest),
  };
}
