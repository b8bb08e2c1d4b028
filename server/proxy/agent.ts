import { GatewayError } from "../errors.ts";
import { beginEventStream, finish, writeChunk, writeJson } from "./answer.ts";
import { estimateUsage, readChatAnswer, type TokenUsage } from "./chat-answer.ts";
import { type ChatEvent, isMediaType, readChatStream } from "./chat-stream.ts";
import type { ModelCatalog, OfferedModel } from "./model-catalog.ts";
import type { Prepared, ProxyCall } from "./proxy-call.ts";
import { type AgentRequest, readAgentRequest } from "./request-fields.ts";
import type { JsonObject } from "./request-json.ts";
import { answerRefusal } from "./upstream-refusal.ts";

/** A reply larger than this is not one that a capped model gave. */
const MAX_ANSWER_BYTES = 4_194_304;

/**
 * `POST /agent`: one question, one reply, on a chat model of ours. The `billing` of the reply names the transaction, so the
 * call is settled when the upstream's answer is complete and good, and the reply is written after that. As a stream the text
 * comes as `{"delta"}` events, and `{"done": true, usage, model, provider, billing}` is the last one before `[DONE]`.
 */
export function prepareAgent(body: JsonObject, catalog: ModelCatalog): GatewayError | Prepared {
  const request = readAgentRequest(body);
  if (request instanceof GatewayError) return request;
  const model = catalog.find(request.model ?? undefined);
  if (model instanceof GatewayError) return model;
  const chat = chatRequest(request, model);
  const prompt = `${request.system ?? ""}${request.prompt}`;
  return {
    model: model.config.name,
    execute: (call) =>
      request.stream === true
        ? answerStream(call, model, chat, prompt)
        : answerWhole(call, model, chat, prompt),
  };
}

function chatRequest(
  { prompt, system, stream }: AgentRequest,
  { config, backend }: OfferedModel,
): JsonObject {
  const instructions = system == null ? [] : [{ role: "system", content: system }];
  return {
    model: config.model,
    messages: [...instructions, { role: "user", content: prompt }],
    [backend.outputLimitField]: config.maxOutput,
    ...(stream === true ? { stream: true, stream_options: { include_usage: true } } : {}),
  };
}

async function answerWhole(
  call: ProxyCall,
  model: OfferedModel,
  chat: JsonObject,
  prompt: string,
): Promise<void> {
  const answer = await model.backend.generate("chat", chat, call.signal);
  if (answer.status !== 200) return answerRefusal(call, answer, model.backend);
  if (!isMediaType(answer, "application/json")) {
    answer.discard();
    throw new GatewayError("upstream_failed");
  }
  const { text, usage } = readChatAnswer(await readWhole(answer.body));
  if (text === "") throw new GatewayError("upstream_failed");
  const facts = factsOf(model, usage, prompt, text);
  if (call.signal.aborted || !(await call.settle())) return;
  const reply = { success: true, reply: text, ...facts, billing: call.billing() };
  await writeJson(call, 200, JSON.stringify(reply));
}

async function answerStream(
  call: ProxyCall,
  model: OfferedModel,
  chat: JsonObject,
  prompt: string,
): Promise<void> {
  const answer = await model.backend.generate("chat", chat, call.signal);
  if (answer.status !== 200) return answerRefusal(call, answer, model.backend);
  let reply = "";
  let usage: TokenUsage | undefined;
  for await (const events of readChatStream(answer)) {
    const added = events.map(textOf).join("");
    reply += added;
    for (const event of events) if (event.kind === "chunk") usage = event.chunk.usage ?? usage;
    if (added !== "") {
      if (!call.res.headersSent) beginEventStream(call);
      if (!(await writeChunk(call, dataEvent({ delta: added })))) return;
    }
    if (!events.some(({ kind }) => kind === "done")) continue;
    if (reply === "") throw new GatewayError("upstream_failed");
    // A short stream can be whole before its first event was settled, and the last one names the transaction.
    if (!(await call.settle())) return;
    const last = { done: true, ...factsOf(model, usage, prompt, reply), billing: call.billing() };
    await finish(call, `${dataEvent(last)}data: [DONE]\n\n`);
  }
}

function textOf(event: ChatEvent): string {
  return event.kind === "chunk" ? event.chunk.text : "";
}

function factsOf(
  { config, backend }: OfferedModel,
  usage: TokenUsage | undefined,
  prompt: string,
  reply: string,
): { readonly usage: TokenUsage; readonly model: string; readonly provider: string } {
  return {
    usage: usage ?? estimateUsage(prompt, reply),
    model: config.name,
    provider: backend.provider,
  };
}

function dataEvent(value: JsonObject): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

async function readWhole(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new GatewayError("upstream_failed");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size).toString();
}
