import type { ServerResponse } from "node:http";
import { gunzipSync } from "node:zlib";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";

/** What a model server bills for a call, live: the prompt that came, and what it produced until its socket closed. */
export interface Billed {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

const MESSAGE_FRAME = 4;
const ANSWER_FRAME = 3;

/** Keeps the bill of one call, by OpenAI's tokenizer and frame of a chat. Must be opened before anything is written. */
export function openBill(json: Readonly<Record<string, unknown>>, res: ServerResponse): Billed {
  const sent: Buffer[] = [];
  const keep = (chunk: unknown): void => {
    if (res.destroyed || typeof chunk === "function" || chunk == null) return;
    sent.push(Buffer.from(chunk as string | Uint8Array));
  };
  const { write, end } = res;
  res.write = ((...args: Parameters<typeof write>) => {
    keep(args[0]);
    return write.apply(res, args);
  }) as typeof write;
  res.end = ((...args: Parameters<typeof end>) => {
    keep(args[0]);
    return end.apply(res, args);
  }) as typeof end;
  return {
    get promptTokens() {
      return promptTokens(json);
    },
    get completionTokens() {
      const bytes = Buffer.concat(sent);
      const isGzip = res.getHeader("content-encoding") === "gzip" || (bytes[0] === 0x1f && bytes[1] === 0x8b);
      return tokens(producedText((isGzip ? gunzipSync(bytes) : bytes).toString()));
    },
  };
}

function tokens(text: string): number {
  return countTokens(text, { disallowedSpecial: new Set() });
}

function promptTokens({ messages, input }: Readonly<Record<string, unknown>>): number {
  if (!Array.isArray(messages)) {
    return [input ?? []].flat().reduce((sum: number, text) => sum + tokens(String(text)), 0);
  }
  return messages.reduce((sum: number, { content }) => {
    const texts = Array.isArray(content) ? content.map(({ text }) => text ?? "") : [content ?? ""];
    return sum + MESSAGE_FRAME + texts.reduce((count: number, text) => count + tokens(text), 0);
  }, ANSWER_FRAME);
}

/** Of a completion, or of the whole events of a stream. */
function producedText(body: string): string {
  const events = [...body.matchAll(/^data: (\{.*\})$/gm)].map(([, data]) => data);
  return (events.length > 0 ? events : [body]).map((text) => textOf(parse(text ?? ""))).join("");
}

function textOf(answer: ReturnType<typeof JSON.parse>): string {
  const [choice] = answer?.choices ?? [];
  const part = choice?.message ?? choice?.delta ?? {};
  const calls = (part.tool_calls ?? []).map(
    (call: ReturnType<typeof JSON.parse>) => `${call.function?.name ?? ""}${call.function?.arguments ?? ""}`,
  );
  return [part.reasoning_content, part.content, part.refusal, ...calls]
    .filter((text) => typeof text === "string")
    .join("");
}

function parse(text: string): ReturnType<typeof JSON.parse> {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
