import { createParser } from "eventsource-parser";
import { GatewayError } from "../errors.ts";
import { type ChatAnswer, readChatAnswer } from "./chat-answer.ts";
import type { Meter } from "./proxy-call.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** One thing that a chat stream said. `data` is the chunk's text as it came. */
export type ChatEvent =
  | { readonly kind: "chunk"; readonly data: string; readonly chunk: ChatAnswer }
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "done" };

/** An event longer than this is not one of a chat. Characters. */
const MAX_EVENT = 1_048_576;

/** So many more pieces are read after the end: whoever is finished is done by then, and who is not would go on for ever. */
const MOST_AFTER_END = 16;

/**
 * Reads a chat stream and gives its events to `take`; those that arrived together come together. `take` says whether to read on, and
 * nothing is read while it takes its time. `done` comes once, for a stream that is whole: at `[DONE]`, or at the end of a stream whose
 * model said why it stopped. After it the rest is drained in silence, if it is short, so that the connection can be used again.
 * Throws `upstream_failed` for an error frame, for anything that is no chunk, and for a stream that ends early.
 */
export async function readChatStream(
  answer: UpstreamAnswer,
  take: (events: readonly ChatEvent[]) => boolean | Promise<boolean>,
): Promise<void> {
  if (mediaType(answer) !== "text/event-stream") throw new GatewayError("upstream_failed");
  const reader = createEventReader();
  const decoder = new TextDecoder();
  let isDone = false;
  let afterEnd = 0;
  for await (const bytes of answer.body) {
    if (isDone) {
      afterEnd += 1;
      if (afterEnd > MOST_AFTER_END) return;
      continue;
    }
    const events = reader.read(decoder.decode(bytes, { stream: true }));
    isDone = events.some(isEnd);
    // Most take no time at all, and waiting for them would.
    const goesOn = events.length === 0 || take(events);
    if (goesOn !== true && !(await goesOn)) return;
    if (!isDone) reader.check();
  }
  if (isDone) return;
  // The last event may lack its blank line. Half of one is none, and what came before it may be whole all the same.
  const last = reader.read(`${decoder.decode()}\n\n`);
  if (!reader.isFinished()) throw new GatewayError("upstream_failed");
  await take(last.some(isEnd) ? last : [...last, { kind: "done" }]);
}

/** Whether this is the last event of a whole stream. */
export function isEnd({ kind }: ChatEvent): boolean {
  return kind === "done";
}

/** The answer's media type, without parameters, in lower case; empty if it does not say. */
export function mediaType(answer: UpstreamAnswer): string {
  const [type = ""] = (answer.headers["content-type"] ?? "").split(";", 1);
  return type.trim().toLowerCase();
}

/** Tells the meter what these events say. Before any of them is passed on: a reader may leave while it is written to. */
export function meterEvents(meter: Meter, events: readonly ChatEvent[]): void {
  for (const event of events) {
    if (event.kind !== "chunk") continue;
    meter.produced(event.chunk.produced);
    if (event.chunk.usage !== undefined) meter.usage(event.chunk.usage);
  }
}

interface EventReader {
  isFinished(): boolean;
  /** The good events of this text, up to the first bad one. */
  read(text: string): readonly ChatEvent[];
  /** Throws what was bad. */
  check(): void;
}

function createEventReader(): EventReader {
  let events: ChatEvent[] = [];
  let fault: unknown;
  let isFinished = false;
  let isDone = false;
  const parser = createParser({
    maxBufferSize: MAX_EVENT,
    onEvent({ event, data }) {
      if (isDone || fault !== undefined) return;
      // As OpenAI's own clients read it.
      if (data.startsWith("[DONE]")) {
        isDone = true;
        events.push({ kind: "done" });
        return;
      }
      try {
        if (event === "error") throw new GatewayError("upstream_failed");
        const chunk = readChatAnswer(data);
        isFinished ||= chunk.isFinished;
        events.push({ kind: "chunk", data, chunk });
      } catch (error) {
        fault = error;
      }
    },
    onComment(text) {
      if (!isDone && fault === undefined) events.push({ kind: "comment", text });
    },
    onError(error) {
      if (error.type === "max-buffer-size-exceeded") {
        fault ??= new GatewayError("upstream_failed", { cause: error });
      }
    },
  });
  return {
    isFinished: () => isFinished,
    read(text) {
      parser.feed(text);
      const read = events;
      events = [];
      return read;
    },
    check() {
      if (fault !== undefined) throw fault;
    },
  };
}
