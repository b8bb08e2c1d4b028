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
  let hasBegun = false;
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: (event) => {
      seen ||= event.event !== "error" && event.data !== "[DONE]" && saysSomething(event.data, hasBegun);
      hasBegun = true;
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
const MAY_SAY_NOTHING =
  /"error"|"start(?:-step)?"|"chat\.completion\.chunk"|"message_start"|"content_block_start"|"ping"|"response\.\w+"/;

/** `hasBegun`: there was a frame before, which said nothing. A feed may say for long that it is there, and nothing else. */
function saysSomething(data: string, hasBegun = false): boolean {
  if (!MAY_SAY_NOTHING.test(data)) return true;
  try {
    const frame: unknown = JSON.parse(data);
    if (!isObject(frame)) return true;
    return !isErrorFrame(frame) && !isBeginning(frame) && !(hasBegun && isPing(frame));
  } catch {
    return true;
  }
}

/**
 * `{"error": …}` is how OpenAI-compatible servers report a failure inside a 200 stream; `false`, `""` and 0 say that there is none.
 * `{"type": "error", "errorText": …}` is the AI SDK's way (UI message stream), and `response.failed` that of OpenAI's responses.
 */
function isErrorFrame(frame: Frame): boolean {
  const { error, type } = frame;
  return Boolean(error) || (type === "error" && "errorText" in frame) || type === "response.failed";
}

/** What comes before a model has said anything, or failed: also OpenAI's chunk of the role alone. */
function isBeginning(frame: Frame): boolean {
  const { type, object, choices, content_block: block } = frame;
  const fields = BEGINNINGS.get(type);
  if (fields === undefined) {
    return object === "chat.completion.chunk" && Array.isArray(choices) && choices.every(isSilent);
  }
  // A block that text will come into; a tool's names the tool.
  const isEmpty = block === undefined || (isObject(block) && saysOnly("type", block));
  return isEmpty && Object.keys(frame).every((key) => fields.has(key));
}

/** The first frames of the AI SDK, of Anthropic's messages and of OpenAI's responses, by type, and what each of them has. */
const BEGINNINGS: ReadonlyMap<unknown, ReadonlySet<string>> = new Map([
  ...["start", "start-step"].map(
    (type) => [type, new Set(["type", "messageId", "messageMetadata"])] as const,
  ),
  ["message_start", new Set(["type", "message"])],
  ["content_block_start", new Set(["type", "index", "content_block"])],
  ...["created", "queued", "in_progress"].map(
    (state) => [`response.${state}`, new Set(["type", "response", "sequence_number"])] as const,
  ),
]);

function isPing(frame: Frame): boolean {
  return frame["type"] === "ping" && Object.keys(frame).length === 1;
}

function isSilent(choice: unknown): boolean {
  if (!isObject(choice) || !isObject(choice["delta"]) || choice["finish_reason"]) return false;
  return saysOnly("role", choice["delta"]);
}

function saysOnly(field: string, object: Frame): boolean {
  return Object.entries(object).every(([name, value]) => name === field || value === null || value === "");
}

type Frame = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Frame {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
