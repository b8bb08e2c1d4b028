import type { MicroUsd } from "../money.ts";
import type { TokenUsage } from "./chat-answer.ts";
import { estimatePrompt } from "./estimate-usage.ts";
import type { Prompt } from "./prompt-bound.ts";
import type { ReadableMeter, Reading } from "./proxy-call.ts";
import { countTokens } from "./token-counter.ts";

/**
 * Follows one call. Usage is what the upstream reported last, of the prompt and of the output each for itself, and a tokenizer's count
 * for what it did not report: so a stream that is cut before its last report is counted to the end of what came.
 * `prompt` undefined: nothing is counted. `costOf` is asked only for a call that has begun.
 */
export function createMeter(
  prompt: Prompt | undefined,
  costOf: (usage: TokenUsage | undefined) => MicroUsd,
): ReadableMeter {
  let begun = false;
  let upstreamStatus: number | undefined;
  let promptTokens = 0;
  let completionTokens = 0;
  /** Since the last report of what was written. */
  let texts: string[] = [];
  /** Of what has come by now. */
  let estimate: Promise<TokenUsage> | undefined;

  function reported(): Reading {
    if (!begun) return { begun, upstreamStatus, usage: undefined, estimated: false, cost: 0n };
    const totalTokens = promptTokens + completionTokens;
    const usage = totalTokens > 0 ? { promptTokens, completionTokens, totalTokens } : undefined;
    return { begun, upstreamStatus, usage, estimated: false, cost: costOf(usage) };
  }

  return {
    reported,
    begun() {
      begun = true;
    },
    answered(status) {
      upstreamStatus = status;
    },
    usage(usage) {
      // No call reads nothing, and none that produced something wrote nothing: a 0 says that nobody counted.
      if (usage.promptTokens > 0) promptTokens = usage.promptTokens;
      if (usage.completionTokens > 0) {
        completionTokens = usage.completionTokens;
        texts = [];
      }
      estimate = undefined;
    },
    produced(text) {
      if (text === "") return;
      texts.push(text);
      estimate = undefined;
    },
    async read() {
      const estimated = promptTokens === 0 || texts.length > 0;
      if (!begun || prompt === undefined || !estimated) return reported();
      estimate ??= complete(prompt, promptTokens, completionTokens, texts.join(""));
      const usage = await estimate;
      return { begun, upstreamStatus, usage, estimated, cost: costOf(usage) };
    },
  };
}

async function complete(
  prompt: Prompt,
  reportedPrompt: number,
  reportedCompletion: number,
  text: string,
): Promise<TokenUsage> {
  const promptTokens = reportedPrompt || (await estimatePrompt(prompt));
  const completionTokens = reportedCompletion + (await countTokens([text]));
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens };
}
