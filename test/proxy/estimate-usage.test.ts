import * as o200k from "gpt-tokenizer/encoding/o200k_base";
import { expect, test } from "vitest";
import { countTokens, estimateUsage } from "../../server/proxy/estimate-usage.ts";
import { chatPrompt } from "../../server/proxy/prompt-bound.ts";

const AS_TEXT = { disallowedSpecial: new Set<string>() };

test("a chat is counted as OpenAI counts it", async () => {
  const messages = [
    { role: "system" as const, content: "Be brief." },
    { role: "user" as const, content: "What is the height of the lighthouse of Alexandria?" },
  ];
  const { promptTokens } = await estimateUsage(chatPrompt(messages, {}), "");
  expect(promptTokens).toBe(o200k.encodeChat(messages, "gpt-4o").length);
});

test("special tokens that are written as text are text", async () => {
  const text = "<|endoftext|><|im_start|>";
  expect(await countTokens([text])).toBe(o200k.countTokens(text, AS_TEXT));
  expect(await countTokens([text])).toBeGreaterThan(4);
});

test.each([
  ["prose", "The quick brown fox jumps over the lazy dog, and nobody sees it. ".repeat(300)],
  ["one word without an end", "a".repeat(20_000)],
  ["characters of two halves", "😀".repeat(5_001)],
])("a long text is counted in pieces, nearly as a whole: %s", async (_, text) => {
  const counted = await countTokens([text]);
  const whole = o200k.countTokens(text.slice(0, 4_000), AS_TEXT) * (text.length / 4_000);
  expect(counted).toBeGreaterThanOrEqual(Math.floor(whole * 0.97));
  expect(counted).toBeLessThanOrEqual(whole * 1.06);
});

test("others get their turns while a long text is counted", async () => {
  let turns = 0;
  let isCounting = true;
  const turn = (): void => {
    turns++;
    if (isCounting) setImmediate(turn);
  };
  await countTokens(["load the tokenizer"]);
  setImmediate(turn);
  await countTokens(["a".repeat(100_000)]);
  isCounting = false;
  expect(turns).toBeGreaterThanOrEqual(10);
});
