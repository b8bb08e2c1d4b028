import { createParser } from "eventsource-parser";

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
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: (event) => {
      seen ||= event.event !== "error" && event.data !== "[DONE]" && saysSomething(event.data);
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
  return line.trim() !== "" && saysSomething(line);
}

/** Frames that fail, or begin an answer of which nothing is there yet, name themselves by one of these. */
const MAY_SAY_NOTHING = /"error"|"start(?:-step)?"|"chat\.completion\.chunk"/;

function saysSomething(data: string): boolean {
  if (!MAY_SAY_NOTHING.test(data)) return true;
  try {
    const frame: unknown = JSON.parse(data);
    return !isObject(frame) || !(isErrorFrame(frame) || isBeginning(frame));
  } catch {
    return true;
  }
}

/**
 * `{"error": …}` is how OpenAI-compatible servers report a failure inside a 200 stream; `false`, `""` and 0 say that there is none.
 * `{"type": "error", "errorText": …}` is the AI SDK's way (UI message stream).
 */
function isErrorFrame(frame: Frame): boolean {
  return Boolean(frame["error"]) || (frame["type"] === "error" && "errorText" in frame);
}

/** What both send before a model has said anything, or failed: the AI SDK's first parts, and OpenAI's chunk of the role alone. */
function isBeginning(frame: Frame): boolean {
  const { type, object, choices } = frame;
  if (type === "start" || type === "start-step") return Object.keys(frame).every((key) => IN_START.has(key));
  return object === "chat.completion.chunk" && Array.isArray(choices) && choices.every(isSilent);
}

const IN_START = new Set(["type", "messageId", "messageMetadata"]);

function isSilent(choice: unknown): boolean {
  if (!isObject(choice) || !isObject(choice["delta"]) || choice["finish_reason"]) return false;
  return Object.entries(choice["delta"]).every(
    ([name, value]) => name === "role" || value === null || value === "",
  );
}

type Frame = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Frame {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
