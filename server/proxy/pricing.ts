import type { ModelConfig } from "../config.ts";
import type { HoldRange } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { TokenUsage } from "./chat-answer.ts";
import { createMeter } from "./meter.ts";
import { type Prompt, promptBound } from "./prompt-bound.ts";
import type { Quote } from "./proxy-call.ts";

/** Prices are for so many tokens. */
const PRICE_UNIT = 1_000_000n;
/** A call whose request leaves the output open is worth admitting for so many tokens of it. */
const LEAST_OUTPUT = 256;

/** A request for a model, as far as it decides the cost. */
export interface PricedRequest {
  readonly prompt: Prompt;
  /** Most output tokens that are asked for; 0 for embeddings. */
  readonly outputLimit: number;
  /** The request says itself how long the answer may be: it is served in full or not at all. */
  readonly fixesOutput: boolean;
}

/** A quote, and what a smaller hold makes of the request. */
export interface ModelQuote extends Quote {
  /** What is counted for an answer that could not be read. */
  readonly most: TokenUsage;
  /** The most output tokens that the budget (undefined: the quote's most) pays for: at least 1, at most the request's limit. */
  outputLimit(budget: MicroUsd | undefined): number;
}

/** Whatever happens in the call, it costs this once it has begun. `prompt`: for the usage alone, where there is a model. */
export function quoteFlat(price: MicroUsd, prompt?: Prompt): Quote {
  return {
    range: { most: price, least: price },
    meter: () => createMeter(prompt, () => price),
  };
}

/** The model's own pricing, or the route's flat price where it has none. */
export function quoteModel(
  { pricing, imageTokens }: ModelConfig,
  flat: MicroUsd,
  request: PricedRequest,
): ModelQuote {
  const { prompt, outputLimit } = request;
  const bound = promptBound(prompt, imageTokens);
  const mostUsage = { promptTokens: bound, completionTokens: outputLimit, totalTokens: bound + outputLimit };
  if (pricing?.kind !== "tokens") {
    return { ...quoteFlat(pricing?.price ?? flat, prompt), most: mostUsage, outputLimit: () => outputLimit };
  }
  const { input, output } = pricing;
  const costOf = (promptTokens: number, outputTokens: number): MicroUsd =>
    (BigInt(promptTokens) * input + BigInt(outputTokens) * output + PRICE_UNIT - 1n) / PRICE_UNIT;
  const most = costOf(bound, outputLimit);
  const least = request.fixesOutput ? most : costOf(bound, Math.min(outputLimit, LEAST_OUTPUT));
  const range: HoldRange = { most, least };
  return {
    range,
    most: mostUsage,
    meter: () =>
      createMeter(prompt, (usage: TokenUsage | undefined) =>
        usage === undefined ? 0n : costOf(usage.promptTokens, usage.completionTokens),
      ),
    outputLimit(budget) {
      if (budget === undefined || output === 0n) return outputLimit;
      const affordable = (budget * PRICE_UNIT - BigInt(bound) * input) / output;
      if (affordable >= BigInt(outputLimit)) return outputLimit;
      return affordable < 1n ? 1 : Number(affordable);
    },
  };
}
