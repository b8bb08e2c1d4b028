import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type JsonObject, parseJsonObject } from "./request-json.ts";

const count = z.int().nonnegative();

const usageSchema = z.object({ prompt_tokens: count, completion_tokens: count.default(0) });

/** What we read of a chat completion, whole or in chunks. Everything else is passed on unread. */
const choiceSchema = z.object({
  finish_reason: z.unknown().optional(),
  delta: z.record(z.string(), z.unknown()).nullish(),
  message: z.object({ content: z.unknown().optional(), refusal: z.unknown().optional() }).nullish(),
});

const answerSchema = z.object({
  error: z.unknown().optional(),
  choices: z.array(choiceSchema).default([]),
  usage: usageSchema.nullish().catch(undefined),
});

/** Tokens as the upstream counted them. */
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
  if (json === undefined || !parsed.success || parsed.data.error != null) {
    throw new GatewayError("upstream_failed", { cause: parsed.error });
  }
  const { choices, usage } = parsed.data;
  const [first] = choices;
  const content = first?.message?.content ?? first?.message?.refusal ?? first?.delta?.["content"];
  const isFinished = first?.finish_reason != null && first.finish_reason !== "";
  return {
    json,
    text: typeof content === "string" ? content : "",
    choices: choices.length,
    hasSubstance: isFinished || usage != null || Object.entries(first?.delta ?? {}).some(isSubstance),
    isFinished,
    usage:
      usage == null
        ? undefined
        : {
            promptTokens: usage.prompt_tokens,
            completionTokens: usage.completion_tokens,
            totalTokens: usage.prompt_tokens + usage.completion_tokens,
          },
  };
}

function isSubstance([name, value]: readonly [string, unknown]): boolean {
  if (name === "role" || value === null || value === undefined || value === "") return false;
  return !(Array.isArray(value) && value.length === 0);
}

/** Bytes of UTF-8 for one token, where an upstream reports no usage: the usual estimate, rounded up. */
const BYTES_PER_TOKEN = 4;

/** The documented estimate for an upstream that counts nothing. */
export function estimateUsage(prompt: string, reply: string): TokenUsage {
  const promptTokens = estimateTokens(prompt);
  const completionTokens = estimateTokens(reply);
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens };
}

export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}
