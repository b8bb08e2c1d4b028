import { GatewayError } from "../errors.ts";
import { beginEventStream, finish, writeChunk, writeJson } from "./answer.ts";
import { readChatAnswer } from "./chat-answer.ts";
import { type ChatEvent, isMediaType, readChatStream } from "./chat-stream.ts";
import type { ModelCatalog, OfferedModel } from "./model-catalog.ts";
import type { Prepared, ProxyCall } from "./proxy-call.ts";
import { clampedChat, mappedEmbeddings, readChatRequest, readEmbeddingsRequest } from "./request-fields.ts";
import { type JsonObject, parseJsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";
import { answerRefusal } from "./upstream-refusal.ts";

/** A JSON answer up to this size is read and checked before it is sent; a larger one (a batch of vectors) passes unread. */
const CHECKED_BYTES = 1_048_576;
/** Chunks that say nothing yet (a role, a comment) are kept back until one does, up to this many characters. */
const PRELUDE_MAX = 16_384;

/** `POST /v1/chat/completions` and `/v1/embeddings`: OpenAI's, with the public model names and the clamped fields. */
export function prepareOpenai(
  endpoint: ModelEndpoint,
  body: JsonObject,
  catalog: ModelCatalog,
): GatewayError | Prepared {
  if (endpoint === "embeddings") {
    const request = readEmbeddingsRequest(body);
    if (request instanceof GatewayError) return request;
    const model = catalog.find(request.model);
    if (model instanceof GatewayError) return model;
    const mapped = mappedEmbeddings(request, model.config);
    return prepared(model, (call) => answerWhole(call, model, endpoint, mapped));
  }
  const request = readChatRequest(body);
  if (request instanceof GatewayError) return request;
  const model = catalog.find(request.model);
  if (model instanceof GatewayError) return model;
  const clamped = clampedChat(request, model.config, model.backend.outputLimitField);
  return prepared(model, (call) =>
    request.stream === true
      ? answerStream(call, model, clamped)
      : answerWhole(call, model, endpoint, clamped),
  );
}

function prepared(model: OfferedModel, execute: Prepared["execute"]): Prepared {
  return { model: model.config.name, execute };
}

async function answerWhole(
  call: ProxyCall,
  model: OfferedModel,
  endpoint: ModelEndpoint,
  request: JsonObject,
): Promise<void> {
  const answer = await model.backend.generate(endpoint, request, call.signal);
  if (answer.status !== 200) return answerRefusal(call, answer, model.backend);
  if (!isMediaType(answer, "application/json")) {
    answer.discard();
    throw new GatewayError("upstream_failed");
  }
  const held: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.length;
    held.push(chunk);
    if (size <= CHECKED_BYTES) continue;
    if (!call.res.headersSent) call.res.setHeader("Content-Type", "application/json; charset=utf-8");
    for (const earlier of held.splice(0)) {
      if (!(await writeChunk(call, earlier))) return;
    }
  }
  if (size > CHECKED_BYTES) return finish(call);
  const bytes = Buffer.concat(held, size);
  return writeJson(call, 200, checked(bytes, endpoint, model));
}

/** The answer under the public model name. Throws `upstream_failed` if it is none, such as an error inside a 200. */
function checked(bytes: Buffer, endpoint: ModelEndpoint, model: OfferedModel): Buffer | string {
  const json = endpoint === "chat" ? chatJson(bytes) : embeddingsJson(bytes);
  // Unless a name must be changed the bytes stay as they are: writing JSON anew can round its numbers.
  return json["model"] === model.config.name ? bytes : JSON.stringify({ ...json, model: model.config.name });
}

function chatJson(bytes: Buffer): JsonObject {
  const { json, choices } = readChatAnswer(bytes.toString());
  if (choices === 0) throw new GatewayError("upstream_failed");
  return json;
}

function embeddingsJson(bytes: Buffer): JsonObject {
  const json = parseJsonObject(bytes.toString());
  if (json === undefined || json["error"] != null || !Array.isArray(json["data"])) {
    throw new GatewayError("upstream_failed");
  }
  return json;
}

async function answerStream(call: ProxyCall, model: OfferedModel, request: JsonObject): Promise<void> {
  const answer = await model.backend.generate("chat", request, call.signal);
  if (answer.status !== 200) return answerRefusal(call, answer, model.backend);
  let prelude = "";
  let hasBegun = false;
  for await (const events of readChatStream(answer)) {
    const text = prelude + events.map((event) => written(event, model.config.name)).join("");
    hasBegun ||= beginsAnswer(events, text);
    if (!hasBegun) {
      prelude = text;
      continue;
    }
    prelude = "";
    if (!call.res.headersSent) beginEventStream(call);
    if (events.some(({ kind }) => kind === "done")) await finish(call, text);
    else if (!(await writeChunk(call, text))) return;
  }
}

/** A stream that is whole before it said anything has failed: there is nothing to sell. */
function beginsAnswer(events: readonly ChatEvent[], text: string): boolean {
  if (events.some((event) => event.kind === "chunk" && event.chunk.hasSubstance)) return true;
  if (events.some(({ kind }) => kind === "done")) throw new GatewayError("upstream_failed");
  return text.length > PRELUDE_MAX;
}

function written(event: ChatEvent, publicName: string): string {
  if (event.kind === "done") return "data: [DONE]\n\n";
  if (event.kind === "comment") return `: ${event.text}\n\n`;
  const { json } = event.chunk;
  const data =
    json["model"] === publicName ? oneLine(event.data) : JSON.stringify({ ...json, model: publicName });
  return `data: ${data}\n\n`;
}

/** An event may be spread over several `data:` lines, which the parser joined. */
function oneLine(data: string): string {
  return data.includes("\n") ? data.replaceAll("\n", "\ndata: ") : data;
}
