import type { Prompt } from "./prompt-bound.ts";
import { countTokens } from "./token-counter.ts";

/** OpenAI's frame of a message (its role included), and of the answer that begins. Tokens. */
const MESSAGE_FRAME = 4;
const ANSWER_FRAME = 3;
/** OpenAI's formula for an image of 1024 x 1024. Tokens. */
const IMAGE = 765;

/** The documented estimate for an upstream that reports no usage: tokens of `o200k_base`, with OpenAI's frame of a chat. */
export async function estimatePrompt(prompt: Prompt): Promise<number> {
  const { texts, json, parts, images, tokenIds, isChat } = prompt;
  const text = (await countTokens(texts)) + (await countTokens(json));
  const frame = isChat ? parts * MESSAGE_FRAME + ANSWER_FRAME : 0;
  return text + frame + images * IMAGE + tokenIds;
}
