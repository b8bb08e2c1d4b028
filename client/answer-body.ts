import { EventSourceParserStream } from "eventsource-parser/stream";

const STREAM_TYPES = ["text/event-stream", "application/x-ndjson", "application/jsonl"];

/** Whether an answer comes bit by bit and has no length known before. */
export function isStream(response: Response): boolean {
  const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
  return STREAM_TYPES.includes(type.trim().toLowerCase());
}

/** The same answer, its body in memory. Rejects if the body breaks off. */
export async function readWhole(response: Response): Promise<Response> {
  return response.body === null ? response : withBody(response, await response.arrayBuffer());
}

/**
 * The same answer; when its body breaks off, the reader is told `onBreak`'s error. Race: a reader that has seen enough
 * cancels while the next bytes are on their way; that is an end, whatever becomes of them.
 */
export function watchBody(response: Response, onBreak: (fault: unknown) => unknown): Response {
  if (response.body === null) return response;
  const reader = response.body.getReader();
  let isLeft = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const read = await reader.read().catch((fault: unknown) => ({ fault }));
      if (isLeft) return;
      if ("fault" in read) controller.error(onBreak(read.fault));
      else if (read.done) controller.close();
      else controller.enqueue(read.value);
    },
    cancel(reason) {
      isLeft = true;
      return reader.cancel(reason);
    },
  });
  return withBody(response, body);
}

/** The same answer with another header. */
export function withHeader(response: Response, name: string, value: string): Response {
  const changed = withBody(response, response.body);
  changed.headers.set(name, value);
  return changed;
}

/** The data of server-sent events, parsed as JSON (undefined for what is none), up to `[DONE]`. Throws `cut()` if that does not come. */
export async function* readEvents(response: Response, cut: () => Error): AsyncGenerator<unknown> {
  const text = response.body?.pipeThrough(new TextDecoderStream());
  for await (const { data } of text?.pipeThrough(new EventSourceParserStream()) ?? []) {
    if (data === "[DONE]") return;
    yield parseJson(data);
  }
  throw cut();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Fetch has undone the encoding, so the two headers that speak of it would be wrong. */
function withBody(
  { status, statusText, headers }: Response,
  body: ReadableStream<Uint8Array> | ArrayBuffer | null,
): Response {
  const changed = new Response(body, { status, statusText, headers });
  changed.headers.delete("content-encoding");
  changed.headers.delete("content-length");
  return changed;
}
