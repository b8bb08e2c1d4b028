import { createParser } from "eventsource-parser";

/**
 * Reads the beginning of a stream and says when its first real event has passed: not a comment, not an error frame,
 * not a bare `[DONE]`. Until then nothing has been delivered and nothing is charged (design: the gate).
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
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: (event) => {
      seen ||= event.event !== "error" && event.data !== "[DONE]" && !isErrorFrame(event.data);
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
  const decoder = new TextDecoder();
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

function isReal(line: string): boolean {
  return line.trim() !== "" && !isErrorFrame(line);
}

/** `{"error": …}` is how OpenAI-compatible servers report a failure inside a 200 stream. `false`, `""` and 0 say that there is none. */
function isErrorFrame(data: string): boolean {
  if (!data.includes('"error"')) return false;
  try {
    const parsed: unknown = JSON.parse(data);
    return typeof parsed === "object" && parsed !== null && "error" in parsed && Boolean(parsed.error);
  } catch {
    return false;
  }
}
