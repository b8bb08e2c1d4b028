import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { listOf, plainListOf } from "./list-of.ts";
import { isJsonObject, type JsonObject } from "./request-json.ts";
import type { ModelBackend } from "./upstream.ts";

/** One call is priced for one answer. */
const MAX_CHOICES = 1;
const MAX_IMAGES = 16;
const MAX_INPUTS = 2_048;

const optionalText = z.string().nullish();
const optionalNumber = z.number().nullish();
const optionalFlag = z.boolean().nullish();
const optionalCount = z.int().positive().nullish();

const contentPart = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("refusal"), refusal: z.string() }),
  z.object({
    type: z.literal("image_url"),
    image_url: z.object({
      // Whatever fetches a URL for an anonymous caller can be sent into the operator's network.
      url: z.string().startsWith("data:image/", { error: "images are accepted as data: URLs only" }),
      detail: z.enum(["auto", "low", "high"]).optional(),
    }),
  }),
]);

const functionCall = z.object({ name: z.string(), arguments: z.string() });

const message = z.object({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), listOf(contentPart), z.null()]).optional(),
  name: optionalText,
  refusal: optionalText,
  reasoning_content: optionalText,
  tool_call_id: optionalText,
  tool_calls: listOf(
    z.object({ id: z.string(), type: z.literal("function"), function: functionCall }),
  ).nullish(),
  function_call: functionCall.nullish(),
});

/**
 * The fields of a chat request that reach an upstream, all others being dropped: an unknown field may cost the operator money
 * that the price does not cover. Known to, and left out on purpose: `web_search_options`, `plugins` and tools that are no
 * functions (each use is billed), `models`, `route` and `provider` (another, dearer model), `service_tier`, `store`,
 * `prediction`, `modalities` and `audio`, `best_of`, `reasoning` and `thinking` budgets, `options` (context size).
 * A null counts as absent.
 */
const CHAT_FIELDS = {
  model: z.string().min(1),
  messages: listOf(message, { min: 1 }),
  stream: optionalFlag,
  stream_options: z.object({ include_usage: optionalFlag }).nullish(),
  // Cost: clamped below.
  n: optionalCount,
  max_tokens: optionalCount,
  max_completion_tokens: optionalCount,
  // Cost: within the output limit, which includes reasoning. Anything else is left to the model's default.
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high"]).nullish().catch(undefined),
  // Cost: only functions, which the caller runs itself.
  tools: listOf(z.looseObject({ type: z.string() })).nullish(),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: optionalFlag,
  functions: z.array(z.unknown()).nullish(),
  function_call: z.unknown().optional(),
  // Free: they shape the answer.
  temperature: optionalNumber,
  top_p: optionalNumber,
  top_k: optionalNumber,
  min_p: optionalNumber,
  frequency_penalty: optionalNumber,
  presence_penalty: optionalNumber,
  repetition_penalty: optionalNumber,
  logit_bias: z.custom<Readonly<Record<string, number>>>(isBias).nullish(),
  logprobs: optionalFlag,
  top_logprobs: z.int().min(0).max(20).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string(), plainListOf(isText)]).nullish(),
  response_format: z.unknown().optional(),
  verbosity: z.enum(["low", "medium", "high"]).nullish(),
  user: optionalText,
} as const;

const embeddingInput = z.union([
  z.string().min(1),
  plainListOf(isText, { min: 1, max: MAX_INPUTS }),
  z.custom<number[]>(isTokenIds),
  plainListOf(isTokenIds, { min: 1, max: MAX_INPUTS }),
]);

/** The same for embeddings. */
const EMBEDDINGS_FIELDS = {
  model: z.string().min(1),
  input: embeddingInput,
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: optionalCount,
  user: optionalText,
} as const;

/** What a chat is not sent with as the caller wrote it. */
const CLAMPED: ReadonlySet<string> = new Set<keyof typeof CHAT_FIELDS>([
  "stream_options",
  "n",
  "max_tokens",
  "max_completion_tokens",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
]);

const chatSchema = z.object(CHAT_FIELDS);
const embeddingsSchema = z.object(EMBEDDINGS_FIELDS);
const agentSchema = z.object({
  prompt: z.string().refine((prompt) => prompt.trim() !== "", { error: "is empty" }),
  model: z.string().min(1).nullish(),
  system: optionalText,
  stream: optionalFlag,
});

export type ChatRequest = z.output<typeof chatSchema>;
export type EmbeddingsRequest = z.output<typeof embeddingsSchema>;
export type AgentRequest = z.output<typeof agentSchema>;

/** What is asked of the model, or `invalid_request` naming the field. */
export function readChatRequest(body: JsonObject): GatewayError | ChatRequest {
  const request = parse(chatSchema, body);
  if (request instanceof GatewayError) return request;
  const parts = request.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []));
  const images = parts.filter(({ type }) => type === "image_url").length;
  return images > MAX_IMAGES ? invalid("messages", `has more than ${MAX_IMAGES} images`) : request;
}

export function readEmbeddingsRequest(body: JsonObject): GatewayError | EmbeddingsRequest {
  return parse(embeddingsSchema, body);
}

export function readAgentRequest(body: JsonObject): GatewayError | AgentRequest {
  return parse(agentSchema, body);
}

/**
 * The request as the upstream gets it: its own name of the model, one choice, functions only, and the output capped in the
 * one field that this upstream heeds.
 */
export function clampedChat(
  request: ChatRequest,
  model: { readonly model: string; readonly maxOutput: number },
  limitField: ModelBackend["outputLimitField"],
): JsonObject {
  const { tools, n, tool_choice, parallel_tool_calls } = request;
  const clamped: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request)) {
    if (value !== undefined && value !== null && !CLAMPED.has(name)) clamped[name] = value;
  }
  clamped["model"] = model.model;
  // What it counted is what is charged, whether the caller asked to see it or not.
  if (request.stream === true) clamped["stream_options"] = { include_usage: true };
  if (n != null) clamped["n"] = Math.min(n, MAX_CHOICES);
  clamped[limitField] = outputLimit(request, model.maxOutput);
  const functions = tools?.filter(({ type }) => type === "function") ?? [];
  if (functions.length === 0) return clamped;
  const choice = functionChoice(tool_choice);
  clamped["tools"] = functions;
  if (choice !== undefined) clamped["tool_choice"] = choice;
  if (parallel_tool_calls != null) clamped["parallel_tool_calls"] = parallel_tool_calls;
  return clamped;
}

/** The most output tokens that a request may get. */
export function outputLimit({ max_tokens, max_completion_tokens }: ChatRequest, maxOutput: number): number {
  return Math.min(maxOutput, max_tokens ?? Infinity, max_completion_tokens ?? Infinity);
}

export function mappedEmbeddings(request: EmbeddingsRequest, model: { readonly model: string }): JsonObject {
  return { ...withoutNulls(request), model: model.model };
}

/** A choice of a tool that was dropped would be refused upstream. */
function functionChoice(choice: unknown): unknown {
  const isFunction =
    typeof choice === "object" && choice !== null && "type" in choice && choice.type === "function";
  return typeof choice === "string" || isFunction ? choice : undefined;
}

function withoutNulls(fields: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  );
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id));
}

function isBias(value: unknown): boolean {
  return isJsonObject(value) && Object.values(value).every((bias) => typeof bias === "number");
}

function parse<Output>(schema: z.ZodType<Output>, body: JsonObject): GatewayError | Output {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.map(String) ?? [];
  const [field = "body"] = path;
  if (body[field] === undefined && path.length === 1) return invalid(field, "is required");
  return invalid(path.join("."), `is not valid: ${issue?.message ?? "unknown"}`);
}

function invalid(field: string, problem: string): GatewayError {
  return new GatewayError("invalid_request", {
    message: `\`${field}\` ${problem}.`,
    details: { field },
  });
}
