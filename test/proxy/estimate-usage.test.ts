import { Worker } from "node:worker_threads";
import * as o200k from "gpt-tokenizer/encoding/o200k_base";
import { describe, expect, test } from "vitest";
import { countTokensHere } from "../../server/proxy/count-tokens.ts";
import { estimatePrompt } from "../../server/proxy/estimate-usage.ts";
import { chatPrompt } from "../../server/proxy/prompt-bound.ts";
import { countTokens, createTokenCounter } from "../../server/proxy/token-counter.ts";
import { startThread } from "../../server/thread.ts";

const AS_TEXT = { disallowedSpecial: new Set<string>() };

test("a chat is counted as OpenAI counts it", async () => {
  const messages = [
    { role: "system" as const, content: "Be brief." },
    { role: "user" as const, content: "What is the height of the lighthouse of Alexandria?" },
  ];
  expect(await estimatePrompt(chatPrompt(messages, {}))).toBe(o200k.encodeChat(messages, "gpt-4o").length);
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

test("others get their turns while a long text is counted here", async () => {
  let turns = 0;
  let isCounting = true;
  const turn = (): void => {
    turns++;
    if (isCounting) setImmediate(turn);
  };
  await countTokensHere(["load the tokenizer"]);
  setImmediate(turn);
  await countTokensHere(["a".repeat(100_000)]);
  isCounting = false;
  expect(turns).toBeGreaterThanOrEqual(10);
});

describe("a thread that counts", () => {
  const TEXTS = ["How tall was it?", "", "Some hundred metres."];
  const EXPECTED = TEXTS.reduce((sum, text) => sum + o200k.countTokens(text, AS_TEXT), 0);

  test("is where a text is counted, not here", async () => {
    const said: unknown[] = [];
    const count = createTokenCounter(() =>
      startThread(new URL("../../server/proxy/token-thread", import.meta.url)).on("message", (message) => {
        said.push(message);
      }),
    );
    const tokens = await count(["a".repeat(100_000)]);
    expect(said).toEqual([{ id: 1, tokens }]);
  });

  test("answers each question by itself", async () => {
    const count = createTokenCounter();
    const counted = await Promise.all([
      count(TEXTS),
      count(["a".repeat(5_000)]),
      count([]),
      count([""]),
      count(TEXTS),
    ]);
    expect(counted).toEqual([EXPECTED, await countTokensHere(["a".repeat(5_000)]), 0, 0, EXPECTED]);
  });

  test("that is lost leaves nothing uncounted, and another takes its place", async () => {
    const started: Worker[] = [];
    const count = createTokenCounter(() => {
      const worker = new Worker(
        "require('node:worker_threads').parentPort.on('message', () => process.exit(1))",
        { eval: true },
      );
      started.push(worker);
      return worker;
    });
    expect(await Promise.all([count(TEXTS), count(TEXTS)])).toEqual([EXPECTED, EXPECTED]);
    expect(await count(TEXTS)).toBe(EXPECTED);
    expect(started).toHaveLength(2);
  });

  test("that cannot be started leaves nothing uncounted", async () => {
    const count = createTokenCounter(() => {
      throw new Error("no more threads");
    });
    expect(await count(TEXTS)).toBe(EXPECTED);
  });
});
