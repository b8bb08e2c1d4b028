import { createHash } from "node:crypto";
import { z } from "zod";
import { ECHO_MODEL } from "../config-models.ts";
import type { JsonObject } from "./request-json.ts";
import type { ModelBackend } from "./upstream.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** Pieces of at most 12 characters that add up to the text again; each counts as a token. */
const PIECES = /\S{1,12}\s?|\s{1,12}/gu;
/** Bytes of UTF-8 that count as a token of a prompt. */
const BYTES_PER_TOKEN = 4;
const DIMENSIONS = 16;
const MAX_DIMENSIONS = 1_536;

const content = z
  .union([z.string(), z.array(z.object({ text: z.string().default("") })), z.null()])
  .default("")
  .transform((value) => (Array.isArray(value) ? value.map(({ text }) => text).join(" ") : (value ?? "")));

const chatSchema = z.object({
  messages: z.array(z.object({ role: z.string(), content })),
  max_tokens: z.int().positive(),
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).optional(),
});

const embeddingsSchema = z.object({
  input: z.union([z.string(), z.array(z.unknown())]),
  encoding_format: z.enum(["float", "base64"]).default("float"),
  dimensions: z.int().positive().max(MAX_DIMENSIONS).default(DIMENSIONS).catch(MAX_DIMENSIONS),
});

/**
 * The built-in model of local mode. It understands nothing: it answers with the question, under its own name, so that the
 * whole way of a payment can be tried without a model. The same request yields the same bytes. In process, no HTTP.
 */
export function createEchoModel(): ModelBackend {
  return {
    provider: ECHO_MODEL,
    outputLimitField: "max_tokens",
    secrets: [],
    async generate(endpoint, request, { onSending }) {
      onSending();
      return endpoint === "chat" ? chat(request) : json(embeddings(embeddingsSchema.parse(request)));
    },
  };
}

function chat(request: JsonObject): UpstreamAnswer {
  const { messages, max_tokens, stream, stream_options } = chatSchema.parse(request);
  const asked = messages.findLast(({ role }) => role === "user")?.content ?? "";
  const pieces = `[${ECHO_MODEL}] You said: ${asked}`.match(PIECES) ?? [];
  const given = pieces.slice(0, max_tokens);
  const promptTokens = messages.reduce((sum, message) => sum + estimateTokens(message.content), 0);
  const base = {
    id: `chatcmpl-${digest(JSON.stringify(request)).toString("hex").slice(0, 24)}`,
    created: 0,
    model: ECHO_MODEL,
    system_fingerprint: ECHO_MODEL,
  };
  const finishReason = given.length < pieces.length ? "length" : "stop";
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: given.length,
    total_tokens: promptTokens + given.length,
  };
  if (!stream) {
    const message = { role: "assistant", content: given.join("") };
    const choices = [{ index: 0, message, finish_reason: finishReason }];
    return json({ ...base, object: "chat.completion", choices, usage });
  }
  const chunk = (choices: readonly unknown[], more: JsonObject = {}): JsonObject => ({
    ...base,
    object: "chat.completion.chunk",
    choices,
    ...more,
  });
  const delta = (added: JsonObject, finish_reason: string | null): JsonObject =>
    chunk([{ index: 0, delta: added, finish_reason }]);
  return eventStream([
    delta({ role: "assistant", content: "" }, null),
    ...given.map((piece) => delta({ content: piece }, null)),
    delta({}, finishReason),
    ...(stream_options?.include_usage === true ? [chunk([], { usage })] : []),
  ]);
}

function embeddings({ input, encoding_format, dimensions }: z.output<typeof embeddingsSchema>): JsonObject {
  const isOneList = Array.isArray(input) && input.every((item) => typeof item === "number");
  const inputs =
    typeof input === "string" ? [input] : isOneList ? [JSON.stringify(input)] : input.map(String);
  const tokens = inputs.reduce((sum, text) => sum + estimateTokens(text), 0);
  return {
    object: "list",
    data: inputs.map((text, index) => {
      const vector = vectorOf(text, dimensions);
      const embedding =
        encoding_format === "float" ? [...vector] : Buffer.from(vector.buffer).toString("base64");
      return { object: "embedding", index, embedding };
    }),
    model: ECHO_MODEL,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** A unit vector made of hashes: equal texts are equal, and nothing else can be said of it. */
function vectorOf(text: string, dimensions: number): Float32Array {
  const raw = Float64Array.from(
    { length: dimensions },
    (_, index) => digest(`${index}:${text}`).readInt32BE(0) / 2 ** 31,
  );
  const length = Math.hypot(...raw) || 1;
  return Float32Array.from(raw, (value) => value / length);
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function json(value: JsonObject): UpstreamAnswer {
  return answerOf("application/json", [JSON.stringify(value)]);
}

function eventStream(values: readonly JsonObject[]): UpstreamAnswer {
  const events = values.map((value) => `data: ${JSON.stringify(value)}\n\n`);
  return answerOf("text/event-stream", [...events, "data: [DONE]\n\n"]);
}

function answerOf(contentType: string, parts: readonly string[]): UpstreamAnswer {
  return { status: 200, headers: { "content-type": contentType }, body: spoken(parts), discard: () => {} };
}

function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

/** One part each turn of the event loop, as a network would deliver them. */
async function* spoken(parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    yield Buffer.from(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
