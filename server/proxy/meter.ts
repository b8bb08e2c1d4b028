import type { MicroUsd } from "../money.ts";
import type { TokenUsage } from "./chat-answer.ts";
import { estimatePrompt } from "./estimate-usage.ts";
import type { Prompt } from "./prompt-bound.ts";
import type { ReadableMeter, Reading } from "./proxy-call.ts";
import { countTokens } from "./token-counter.ts";

/** So much text is kept to be counted; what a model that does not stop writes beyond it is taken to be like it. Characters. */
const MOST_TEXT = 4_194_304;

/** What was written since the last report. */
interface Written {
  /** Its beginning. */
  readonly texts: string[];
  kept: number;
  /** All of it. */
  length: number;
}

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
  let written: Written = { texts: [], kept: 0, length: 0 };
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
        written = { texts: [], kept: 0, length: 0 };
      }
      estimate = undefined;
    },
    produced(text) {
      if (text === "") return;
      const room = MOST_TEXT - written.kept;
      if (room > 0) {
        written.texts.push(text.slice(0, room));
        written.kept += Math.min(text.length, room);
      }
      written.length += text.length;
      estimate = undefined;
    },
    async read() {
      const estimated = promptTokens === 0 || written.length > 0;
      if (!begun || prompt === undefined || !estimated) return reported();
      estimate ??= complete(prompt, promptTokens, completionTokens, written.texts.join(""), written.length);
      const usage = await estimate;
      return { begun, upstreamStatus, usage, estimated, cost: costOf(usage) };
    },
  };
}

/** `text` is the beginning of what was written, which is `length` characters long. */
async function complete(
  prompt: Prompt,
  reportedPrompt: number,
  reportedCompletion: number,
  text: string,
  length: number,
): Promise<TokenUsage> {
  const promptTokens = reportedPrompt || (await estimatePrompt(prompt));
  const counted = text === "" ? 0 : (await countTokens([text])) * (length / text.length);
  const completionTokens = reportedCompletion + Math.ceil(counted);
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens };
}
