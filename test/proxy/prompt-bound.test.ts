import fc from "fast-check";
import * as cl100k from "gpt-tokenizer/encoding/cl100k_base";
import * as o200k from "gpt-tokenizer/encoding/o200k_base";
import { describe, expect, it, test } from "vitest";
import { GatewayError } from "../../server/errors.ts";
import { chatPrompt, embeddingsPrompt, promptBound } from "../../server/proxy/prompt-bound.ts";
import { clampedChat, readChatRequest } from "../../server/proxy/request-fields.ts";

/** The hold is made of it: an upstream that counts more than the bound has been served for less than it bills. */
const IMAGE_TOKENS = 1_500;
const AS_TEXT = { disallowedSpecial: new Set<string>() };
const ENCODINGS = [
  ["o200k_base", o200k],
  ["cl100k_base", cl100k],
] as const;

const word = fc.constantFrom(
  "<|endoftext|>",
  "<|im_start|>system<|im_sep|>",
  "ﷺ",
  "𝄞",
  "👩‍👩‍👧‍👦",
  "日本語のテキスト",
  "Ωμέγα ",
  "                ",
  "\n\n\n\t",
  "0123456789",
  '\\"{}[]',
  "\ud800",
);
const text = fc
  .array(fc.oneof(word, fc.string({ unit: "binary", maxLength: 40 }), fc.string({ maxLength: 40 })), {
    maxLength: 8,
  })
  .map((parts) => parts.join(""));
const size = fc.record({
  width: fc.integer({ min: 1, max: 4_096 }),
  height: fc.integer({ min: 1, max: 4_096 }),
});
const content = fc.oneof(
  text,
  fc.constant(null),
  fc.array(
    fc.oneof(
      text.map((value) => ({ type: "text", text: value })),
      fc.record({ type: fc.constant("image_url"), size }),
    ),
    { minLength: 1, maxLength: 4 },
  ),
);
const call = fc.record({ name: text, arguments: text });
const message = fc.record(
  {
    role: fc.constantFrom("system", "user", "assistant", "tool"),
    content,
    name: text,
    refusal: text,
    reasoning_content: text,
    tool_calls: fc.array(
      call.map((made) => ({ id: "call_1", type: "function", function: made })),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: ["role"] },
);
const tool = fc.record({ name: text, description: text, parameters: fc.object({ maxDepth: 3 }) });
const chat = fc.record(
  {
    messages: fc.array(message, { minLength: 1, maxLength: 5 }),
    tools: fc.array(
      tool.map((made) => ({ type: "function", function: made })),
      { minLength: 1, maxLength: 3 },
    ),
    response_format: fc.record({ type: fc.constant("json_schema"), json_schema: fc.object() }),
  },
  { requiredKeys: ["messages"] },
);
type Chat = typeof chat extends fc.Arbitrary<infer Value> ? Value : never;

/** OpenAI's tiles of 512 x 512, in the image scaled into 2048 x 2048 and then to a short side of 768. */
function tileTokens({ width, height }: { width: number; height: number }): number {
  const fit = Math.min(1, 2_048 / Math.max(width, height));
  const short = Math.min(1, 768 / (Math.min(width, height) * fit));
  const tiles = [width, height].map((side) => Math.ceil((side * fit * short) / 512));
  return 85 + 170 * (tiles[0] ?? 0) * (tiles[1] ?? 0);
}

/** As a chat template writes it: marks around each message, indented tools, what was made of the image. */
function countPrompt({ messages, tools, response_format }: Chat, count: (text: string) => number): number {
  let tokens = 3;
  for (const { role, content: said, name, refusal, reasoning_content, tool_calls } of messages) {
    tokens += 3 + count(role ?? "");
    for (const part of Array.isArray(said) ? said : [{ type: "text", text: said ?? "" } as const]) {
      tokens += "size" in part ? tileTokens(part.size) : count(part.text);
    }
    if (name !== undefined) tokens += 1 + count(name);
    tokens += count(refusal ?? "") + count(reasoning_content ?? "");
    for (const made of tool_calls ?? []) tokens += 8 + count(JSON.stringify(made.function));
  }
  if (tools !== undefined) tokens += 200 + count(JSON.stringify(tools, null, 4));
  if (response_format !== undefined) tokens += 50 + count(JSON.stringify(response_format));
  return tokens;
}

function boundOf(request: Chat): number {
  const messages = request.messages.map((one) => ({
    ...one,
    content: Array.isArray(one.content)
      ? one.content.map((part) =>
          "size" in part
            ? { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(999)}` } }
            : part,
        )
      : one.content,
  }));
  const read = readChatRequest({ ...request, messages, model: "m" });
  if (read instanceof GatewayError) throw read;
  const sent = clampedChat(read, { model: "m", maxOutput: 10 }, "max_tokens");
  return promptBound(chatPrompt(read.messages, sent), IMAGE_TOKENS);
}

describe.each(ENCODINGS)("never below the upstream's count: %s", (_, encoding) => {
  const count = (value: string) => encoding.countTokens(value, AS_TEXT);

  it("chats with tools, images, multibyte text and special tokens written as text", () => {
    fc.assert(
      fc.property(chat, (request) => {
        expect(boundOf(request)).toBeGreaterThanOrEqual(countPrompt(request, count));
      }),
      { numRuns: 500 },
    );
  });

  it("embeddings", () => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1 }), (inputs) => {
        const counted = inputs.reduce((sum, input) => sum + count(input) + 2, 0);
        expect(promptBound(embeddingsPrompt(inputs), IMAGE_TOKENS)).toBeGreaterThanOrEqual(counted);
      }),
      { numRuns: 300 },
    );
  });
});

test("text that a tokenizer normalises first is counted at its longest", () => {
  const ligature = "ﷺ".repeat(100);
  expect(promptBound(embeddingsPrompt(ligature), 0)).toBeGreaterThanOrEqual(
    Buffer.byteLength(ligature.normalize("NFKC")),
  );
});

test.each([
  ["a list", [1, 2, 3], 3],
  ["lists", [[1, 2], [3]], 3],
])("token ids are counted one by one: %s", (_, input, ids) => {
  const prompt = embeddingsPrompt(input);
  expect(prompt.tokenIds).toBe(ids);
  expect(promptBound(prompt, 0)).toBeGreaterThanOrEqual(ids);
});

test("the bytes of an image are not text", () => {
  const image = (bytes: number) => ({
    role: "user" as const,
    content: [
      { type: "image_url" as const, image_url: { url: `data:image/png;base64,${"A".repeat(bytes)}` } },
    ],
  });
  const bound = (bytes: number) => promptBound(chatPrompt([image(bytes)], {}), 700);
  expect(bound(1_000_000)).toBe(bound(10));
  expect(bound(10)).toBeGreaterThanOrEqual(700);
});
