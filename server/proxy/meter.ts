import type { MicroUsd } from "../money.ts";
import type { TokenUsage } from "./chat-answer.ts";
import { estimateUsage } from "./estimate-usage.ts";
import type { Prompt } from "./prompt-bound.ts";
import type { Meter, Reading } from "./proxy-call.ts";
import { countTokens } from "./token-counter.ts";

/** A meter that can be read. */
export type ReadableMeter = Meter & { read(): Promise<Reading> };

/**
 * Follows one call. Usage is what the upstream reported last, and a tokenizer's count for what it produced after that: so a
 * stream that is cut before its last report is counted to the end of what came.
 * `prompt` undefined: nothing is counted. `costOf` is asked only for a call that has begun.
 */
export function createMeter(
  prompt: Prompt | undefined,
  costOf: (usage: TokenUsage | undefined) => MicroUsd,
): ReadableMeter {
  let begun = false;
  let reported: TokenUsage | undefined;
  /** Since the last report. */
  let texts: string[] = [];
  /** Of what has come by now. */
  let estimate: Promise<TokenUsage> | undefined;
  return {
    begun() {
      begun = true;
    },
    usage(usage) {
      // No call reads nothing, and none that produced something wrote nothing: such a report says that nobody counted.
      if (usage.promptTokens === 0 && prompt !== undefined) return;
      reported = usage;
      if (usage.completionTokens > 0) texts = [];
      estimate = undefined;
    },
    produced(text) {
      if (text === "") return;
      texts.push(text);
      estimate = undefined;
    },
    async read() {
      if (!begun) return { begun, usage: undefined, estimated: false, cost: 0n };
      const estimated = prompt !== undefined && (reported === undefined || texts.length > 0);
      if (estimated) estimate ??= complete(prompt, reported, texts.join(""));
      const usage = estimated ? await estimate : reported;
      return { begun: true, usage, estimated, cost: costOf(usage) };
    },
  };
}

async function complete(prompt: Prompt, reported: TokenUsage | undefined, text: string): Promise<TokenUsage> {
  if (reported === undefined) return estimateUsage(prompt, text);
  const { promptTokens } = reported;
  const completionTokens = reported.completionTokens + (await countTokens([text]));
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens };
}
