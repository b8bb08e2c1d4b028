import { GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import { beginEventStream, finish, writeChunk, writeJson } from "./answer.ts";
import { askModel } from "./ask-model.ts";
import { readChatAnswer } from "./chat-answer.ts";
import { type ChatEvent, isEnd, mediaType, meterEvents, readChatStream } from "./chat-stream.ts";
import type { ModelCatalog, OfferedModel } from "./model-catalog.ts";
import { quoteModel } from "./pricing.ts";
import { chatPrompt } from "./prompt-bound.ts";
import type { Prepared, ProxyCall, Reading } from "./proxy-call.ts";
import { type AgentRequest, type ChatRequest, readAgentRequest } from "./request-fields.ts";
import type { JsonObject } from "./request-json.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** A reply larger than this is not one that a capped model gave. */
const MAX_ANSWER_BYTES = 4_194_304;

/**
 * `POST /agent`: one question, one reply, on a chat model of ours. The `billing` of the reply names the transaction, so the
 * call is settled when the upstream's answer is complete and good, and the reply is written after that. As a stream the text
 * comes as `{"delta"}` events, and `{"done": true, usage, model, provider, billing}` is the last one before `[DONE]`.
 */
export function prepareAgent(
  body: JsonObject,
  catalog: ModelCatalog,
  price: MicroUsd,
): GatewayError | Prepared {
  const request = readAgentRequest(body);
  if (request instanceof GatewayError) return request;
  const model = catalog.find(request.model ?? undefined);
  if (model instanceof GatewayError) return model;
  const messages = messagesOf(request);
  const prompt = chatPrompt(messages, {});
  const { maxOutput } = model.config;
  const quote = quoteModel(model.config, price, { prompt, outputLimit: maxOutput, fixesOutput: false });
  return {
    model: model.config.name,
    provider: model.backend.provider,
    quote,
    execute(call) {
      const chat = {
        model: model.config.model,
        messages,
        [model.backend.outputLimitField]: quote.outputLimit(call.budget),
        ...(request.stream === true ? { stream: true, stream_options: { include_usage: true } } : {}),
      };
      const answerAs = request.stream === true ? answerStream : answerWhole;
      return askModel(call, model, "chat", chat, (answer) => answerAs(call, model, answer));
    },
  };
}

function messagesOf({ prompt, system }: AgentRequest): ChatRequest["messages"] {
  const asked = { role: "user", content: prompt } as const;
  return system == null ? [asked] : [{ role: "system", content: system }, asked];
}

async function answerWhole(call: ProxyCall, model: OfferedModel, answer: UpstreamAnswer): Promise<void> {
  if (mediaType(answer) !== "application/json") throw new GatewayError("upstream_failed");
  const { text, usage, produced } = readChatAnswer(await readWhole(answer.body));
  call.meter.produced(produced);
  if (usage !== undefined) call.meter.usage(usage);
  if (text === "") throw new GatewayError("upstream_failed");
  const facts = await factsOf(call, model);
  if (call.signal.aborted || !(await call.settle())) return;
  const reply = { success: true, reply: text, ...facts, billing: call.billing() };
  await writeJson(call, 200, JSON.stringify(reply));
}

async function answerStream(call: ProxyCall, model: OfferedModel, answer: UpstreamAnswer): Promise<void> {
  let hasText = false;

  /** A short stream can be whole before its first event was settled, and the last one names the transaction. */
  async function end(): Promise<boolean> {
    if (!hasText) throw new GatewayError("upstream_failed");
    if (!(await call.settle())) return false;
    const facts = await factsOf(call, model);
    const last = { done: true, ...facts, billing: call.billing() };
    await finish(call, `${dataEvent(last)}data: [DONE]\n\n`);
    return true;
  }

  await readChatStream(answer, async (events) => {
    meterEvents(call.meter, events);
    const added = events.map(textOf).join("");
    if (added !== "") {
      hasText = true;
      if (!call.res.headersSent) beginEventStream(call);
      if (!(await writeChunk(call, dataEvent({ delta: added })))) return false;
    }
    return events.some(isEnd) ? end() : true;
  });
}

function textOf(event: ChatEvent): string {
  return event.kind === "chunk" ? event.chunk.text : "";
}

/** The usage is that of the bill. */
async function factsOf(
  { meter }: ProxyCall,
  { config, backend }: OfferedModel,
): Promise<Pick<Reading, "usage"> & { readonly model: string; readonly provider: string }> {
  const { usage } = await meter.read();
  return { usage, model: config.name, provider: backend.provider };
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
