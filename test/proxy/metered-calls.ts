import type { Behaviour } from "../support/model-upstream.ts";

/** Requests, answers and usage for the tests of what a call comes to. */
export const PATH = "/v1/chat/completions";
export const CHAT = { model: "by/token", messages: [{ role: "user", content: "Tell me of the sea." }] };
export const STREAM = { ...CHAT, stream: true };
export const SSE = { "Content-Type": "text/event-stream" };
export const STOP = { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };

/** As a meter reads it. */
export const usage = (promptTokens: number, completionTokens: number) => ({
  promptTokens,
  completionTokens,
  totalTokens: promptTokens + completionTokens,
});

/** As an upstream reports it. */
export const reported = (prompt_tokens: number, completion_tokens: number) => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});

/** One chunk of a stream. */
export const said = (content: string, more = {}) => ({
  choices: [{ index: 0, delta: { content } }],
  ...more,
});

/** A whole stream of these chunks. */
export const events = (...values: unknown[]) =>
  `${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join("")}data: [DONE]\n\n`;

/** Every few bytes of a stream in a write of their own. */
export const inPieces = (body: string, every: number): Behaviour => {
  return async (_, res) => {
    res.writeHead(200, SSE);
    const bytes = Buffer.from(body);
    for (let at = 0; at < bytes.length; at += every) {
      await new Promise((resolve) => res.write(bytes.subarray(at, at + every), resolve));
    }
    res.end();
  };
};
