import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";

/** No model reads or writes so much in one call: a larger number is a mistake, and is not taken for a count. */
const MOST_TOKENS = 1_000_000_000;
/** Each of the three counts for itself: what is left out, or makes no sense, is 0. */
const count = z.int().nonnegative().max(MOST_TOKENS).catch(0);

const usageSchema = z.object({ prompt_tokens: count, completion_tokens: count, total_tokens: count });
const usageField = usageSchema.nullish().catch(undefined);

const part = z.custom<JsonObject>(isJsonObject).nullish();

/** What we read of a chat completion, whole or in chunks. Everything else is passed on unread. */
const choiceSchema = z.object({ finish_reason: z.unknown().optional(), delta: part, message: part });

const answerSchema = z.object({
  error: z.unknown().optional(),
  choices: z.array(choiceSchema).nullish(),
  usage: usageField,
});

/** Tokens as the upstream counted them; 0 where it did not say. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly totalTokens: number;
}

/** A chat completion, or a chunk of one. */
export interface ChatAnswer {
  /** All of it, as it was sent. */
  readonly json: JsonObject;
  /** The text of the first choice: the whole, or what this chunk adds. */
  readonly text: string;
  readonly choices: number;
  /** Everything that the model wrote, of all choices: content, reasoning, refusals, calls of functions. */
  readonly produced: string;
  /** There is more in it than a role: from here on something has been delivered. */
  readonly hasSubstance: boolean;
  /** The model said why it stopped. */
  readonly isFinished: boolean;
  readonly usage: TokenUsage | undefined;
}

/** Reads a completion or a chunk. Throws `upstream_failed` for anything else, error frames inside a 200 included. */
export function readChatAnswer(text: string): ChatAnswer {
  const json = parseJsonObject(text);
  const parsed = answerSchema.safeParse(json);
  if (json === undefined || !parsed.success || parsed.data.error) {
    throw new GatewayError("upstream_failed", { cause: parsed.error });
  }
  const { usage } = parsed.data;
  // Servers in Go write a list without members as null.
  const choices = parsed.data.choices ?? [];
  const [first] = choices;
  const said = first?.message ?? first?.delta ?? {};
  const isFinished = first?.finish_reason != null && first.finish_reason !== "";
  return {
    json,
    text: textOf(said["content"]) || textOf(said["refusal"]),
    choices: choices.length,
    produced: choices.map(({ message, delta }) => producedText(message ?? delta ?? {})).join(""),
    hasSubstance: isFinished || Object.entries(first?.delta ?? {}).some(isSubstance),
    isFinished,
    usage: usage == null ? undefined : tokenUsage(usage),
  };
}

/** The usage that an answer reports; undefined for none. */
export function readUsage(usage: unknown, endpoint: ModelEndpoint): TokenUsage | undefined {
  const parsed = usageField.parse(usage);
  if (parsed == null) return undefined;
  if (endpoint === "chat") return tokenUsage(parsed);
  // Some servers of embeddings report the total alone.
  const promptTokens = parsed.prompt_tokens || parsed.total_tokens;
  return { promptTokens, completionTokens: 0, totalTokens: promptTokens };
}

/**
 * Some servers leave what was reasoned out of `completion_tokens`, but not out of the total. Of a total alone nobody can tell what was
 * read and what was written.
 */
function tokenUsage({
  prompt_tokens,
  completion_tokens,
  total_tokens,
}: z.output<typeof usageSchema>): TokenUsage {
  const rest = prompt_tokens > 0 ? total_tokens - prompt_tokens : 0;
  const completionTokens = Math.max(completion_tokens, rest);
  return {
    promptTokens: prompt_tokens,
    completionTokens,
    totalTokens: prompt_tokens + completionTokens,
  };
}

function producedText(part: JsonObject): string {
  const { content, reasoning_content, reasoning, refusal, tool_calls, function_call } = part;
  // Some servers send their reasoning under both names.
  const spoken = `${textOf(reasoning_content ?? reasoning)}${textOf(content)}${textOf(refusal)}`;
  if (tool_calls == null && function_call == null) return spoken;
  const calls = Array.isArray(tool_calls) ? tool_calls : [];
  return `${spoken}${calls.map((call) => callText(field(call, "function"))).join("")}${callText(function_call)}`;
}

function callText(call: unknown): string {
  return `${textOf(field(call, "name"))}${textOf(field(call, "arguments"))}`;
}

/** Text, or the text of parts. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  return Array.isArray(value) ? value.map((item) => textOf(field(item, "text"))).join("") : "";
}

function field(value: unknown, name: string): unknown {
  return isJsonObject(value) ? value[name] : undefined;
}

function isSubstance([name, value]: readonly [string, unknown]): boolean {
  if (name === "role" || value === null || value === undefined || value === "") return false;
  return !(Array.isArray(value) && value.length === 0);
}
