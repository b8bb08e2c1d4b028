import { GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import { beginEventStream, finish, writeChunk, writeJson } from "./answer.ts";
import { askModel } from "./ask-model.ts";
import { readChatAnswer, readUsage, type TokenUsage } from "./chat-answer.ts";
import { type ChatEvent, isEnd, mediaType, meterEvents, readChatStream } from "./chat-stream.ts";
import type { ModelCatalog, OfferedModel } from "./model-catalog.ts";
import { type ModelQuote, quoteModel } from "./pricing.ts";
import { chatPrompt, embeddingsPrompt } from "./prompt-bound.ts";
import type { Meter, Prepared, ProxyCall } from "./proxy-call.ts";
import { underPublicName } from "./public-name.ts";
import {
  clampedChat,
  mappedEmbeddings,
  outputLimit,
  readChatRequest,
  readEmbeddingsRequest,
} from "./request-fields.ts";
import { type JsonObject, parseJsonObject } from "./request-json.ts";
import { createUnreadUsage } from "./unread-usage.ts";
import type { ModelEndpoint } from "./upstream.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** A JSON answer up to this size is read and checked before it is sent; a larger one (a batch of vectors) passes unread. */
const CHECKED_BYTES = 1_048_576;
/** Chunks that say nothing yet (a role, a comment) are kept back until one does, up to this many characters. */
const PRELUDE_MAX = 16_384;

/** `POST /v1/chat/completions` and `/v1/embeddings`: OpenAI's, with the public model names and the clamped fields. */
export function prepareOpenai(
  endpoint: ModelEndpoint,
  body: JsonObject,
  catalog: ModelCatalog,
  price: MicroUsd,
): GatewayError | Prepared {
  return endpoint === "embeddings"
    ? prepareEmbeddings(body, catalog, price)
    : prepareChat(body, catalog, price);
}

function prepareEmbeddings(
  body: JsonObject,
  catalog: ModelCatalog,
  price: MicroUsd,
): GatewayError | Prepared {
  const request = readEmbeddingsRequest(body);
  if (request instanceof GatewayError) return request;
  const model = catalog.find(request.model);
  if (model instanceof GatewayError) return model;
  const mapped = mappedEmbeddings(request, model.config);
  const prompt = embeddingsPrompt(request.input);
  const quote = quoteModel(model.config, price, { prompt, outputLimit: 0, fixesOutput: true });
  return prepared(model, quote, (call) =>
    askModel(call, model, "embeddings", mapped, (answer) =>
      answerWhole(call, model, "embeddings", answer, undefined),
    ),
  );
}

function prepareChat(body: JsonObject, catalog: ModelCatalog, price: MicroUsd): GatewayError | Prepared {
  const request = readChatRequest(body);
  if (request instanceof GatewayError) return request;
  const model = catalog.find(request.model);
  if (model instanceof GatewayError) return model;
  const { config, backend } = model;
  const clamped = clampedChat(request, config, backend.outputLimitField);
  const quote = quoteModel(config, price, {
    prompt: chatPrompt(request.messages, clamped),
    outputLimit: outputLimit(request, config.maxOutput),
    fixesOutput: request.max_tokens != null || request.max_completion_tokens != null,
  });
  const showsUsage = request.stream_options?.include_usage === true;
  return prepared(model, quote, (call) => {
    const affordable = { ...clamped, [backend.outputLimitField]: quote.outputLimit(call.budget) };
    return askModel(call, model, "chat", affordable, (answer) =>
      request.stream === true
        ? answerStream(call, model, answer, showsUsage)
        : answerWhole(call, model, "chat", answer, quote.most),
    );
  });
}

function prepared(
  { config, backend }: OfferedModel,
  quote: ModelQuote,
  execute: Prepared["execute"],
): Prepared {
  return { model: config.name, provider: backend.provider, quote, execute };
}

async function answerWhole(
  call: ProxyCall,
  model: OfferedModel,
  endpoint: ModelEndpoint,
  answer: UpstreamAnswer,
  most: TokenUsage | undefined,
): Promise<void> {
  if (mediaType(answer) !== "application/json") throw new GatewayError("upstream_failed");
  const held: Uint8Array[] = [];
  const unread = createUnreadUsage(endpoint);
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.length;
    held.push(chunk);
    if (size <= CHECKED_BYTES) continue;
    if (size - chunk.length <= CHECKED_BYTES) {
      // Whoever leaves before its end pays the most: nothing is known of what they have read by then.
      if (most !== undefined) call.meter.usage(most);
      for (const earlier of held) unread.add(earlier);
      call.res.setHeader("Content-Type", "application/json; charset=utf-8");
    } else {
      unread.add(chunk);
    }
    // The last one waits until the call is charged.
    for (const earlier of held.splice(0, held.length - 1)) {
      if (!(await writeChunk(call, earlier))) return;
    }
  }
  if (size <= CHECKED_BYTES) {
    return writeJson(call, 200, checked(Buffer.concat(held, size), endpoint, model, call.meter));
  }
  const usage = unread.find();
  if (usage !== undefined) call.meter.usage(usage);
  if (!call.signal.aborted && (await call.chargeBeforeEnd())) await finish(call, held[0]);
}

/** The answer under the public model name. Throws `upstream_failed` if it is none, such as an error inside a 200. */
function checked(bytes: Buffer, endpoint: ModelEndpoint, model: OfferedModel, meter: Meter): Buffer | string {
  const text = bytes.toString();
  const json = endpoint === "chat" ? chatJson(text, meter) : embeddingsJson(text, meter);
  // As it came, byte for byte, where the name is the same.
  return json["model"] === model.config.name ? bytes : underPublicName(text, json, model.config.name);
}

function chatJson(text: string, meter: Meter): JsonObject {
  const { json, choices, produced, usage } = readChatAnswer(text);
  meter.produced(produced);
  if (usage !== undefined) meter.usage(usage);
  if (choices === 0) throw new GatewayError("upstream_failed");
  return json;
}

function embeddingsJson(text: string, meter: Meter): JsonObject {
  const json = parseJsonObject(text);
  if (json === undefined || json["error"] || !Array.isArray(json["data"])) {
    throw new GatewayError("upstream_failed");
  }
  const usage = readUsage(json["usage"], "embeddings");
  if (usage !== undefined) meter.usage(usage);
  return json;
}

async function answerStream(
  call: ProxyCall,
  model: OfferedModel,
  answer: UpstreamAnswer,
  showsUsage: boolean,
): Promise<void> {
  const { meter, res } = call;
  let prelude = "";
  let hasBegun = false;
  await readChatStream(answer, (events) => {
    meterEvents(meter, events);
    let text = prelude;
    for (const event of events) {
      if (showsUsage || !isUsageOnly(event)) text += written(event, model.config.name);
    }
    hasBegun ||= beginsAnswer(events, text);
    prelude = hasBegun ? "" : text;
    if (!hasBegun || text === "") return true;
    if (!res.headersSent) beginEventStream(call);
    return events.some(isEnd) ? finish(call, text).then(() => true) : writeChunk(call, text);
  });
}

/** The chunk that was asked for on our own account: the caller's SDK may not expect one without choices. */
function isUsageOnly(event: ChatEvent): boolean {
  return event.kind === "chunk" && event.chunk.choices === 0 && event.chunk.json["usage"] != null;
}

/** A stream that is whole before it said anything has failed: there is nothing to sell. */
function beginsAnswer(events: readonly ChatEvent[], text: string): boolean {
  if (events.some((event) => event.kind === "chunk" && event.chunk.hasSubstance)) return true;
  if (events.some(isEnd)) throw new GatewayError("upstream_failed");
  return text.length > PRELUDE_MAX;
}

function written(event: ChatEvent, publicName: string): string {
  if (event.kind === "done") return "data: [DONE]\n\n";
  if (event.kind === "comment") return `: ${event.text}\n\n`;
  return `data: ${oneLine(underPublicName(event.data, event.chunk.json, publicName))}\n\n`;
}

/** An event may be spread over several `data:` lines, which the parser joined. */
function oneLine(data: string): string {
  return data.includes("\n") ? data.replaceAll("\n", "\ndata: ") : data;
}
