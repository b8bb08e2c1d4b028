import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { encode } from "gpt-tokenizer/encoding/o200k_base";
import type { Billed } from "./model-upstream-billing.ts";

/** A request as the upstream got it. */
export interface UpstreamCall {
  readonly method: string;
  /** Path and query, raw. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** The parsed body; empty if it is no JSON. */
  readonly json: Readonly<Record<string, unknown>>;
  /** The other side's port: equal for calls on one connection. */
  readonly connection: number | undefined;
  /** Resolves when the other side closes the connection before the answer was complete. */
  readonly aborted: Promise<void>;
  /** What a model server would bill for it by now. */
  readonly billed: Billed;
}

/** Answers one call. */
export type Behaviour = (call: UpstreamCall, res: ServerResponse) => void | Promise<void>;

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

const USAGE: Usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
export const SSE = { "Content-Type": "text/event-stream" };
/** Must never be seen by a caller. */
export const SECRET_ERROR = {
  error: { message: "upstream secret sk-live-0123456789", type: "server_error", code: null },
};
/** Answers that were broken off from this side. */
export const brokenByUs = new WeakSet<ServerResponse>();

/** Ready-made behaviours. */
export const answers = {
  /** What a working server answers: a completion or a stream of one, vectors, or the list of models; else the request itself. */
  good: goodAnswer,
  /** A completion of this text, as JSON or as a stream, as the call asks. */
  chat: (text: string, usage: Usage | null = USAGE): Behaviour => {
    return (call, res) =>
      call.json["stream"] === true
        ? void res.writeHead(200, SSE).end(events(call, text.match(/\S+\s*/g) ?? [], usage))
        : sendJson(res, 200, completion(call, text, usage));
  },
  /** A completion of this text that reports what is billed for it. */
  metered: (text: string): Behaviour => {
    return (call, res) => {
      const { promptTokens } = call.billed;
      const completionTokens = encode(text).length;
      const usage = {
        prompt_tokens: promptTokens,
        completion_tokens: completionTokens,
        total_tokens: promptTokens + completionTokens,
      };
      return answers.chat(text, usage)(call, res);
    };
  },
  json: (status: number, body: unknown, headers: Record<string, string> = {}): Behaviour => {
    return (_, res) => sendJson(res, status, body, headers);
  },
  /** Any status, headers and bytes. */
  raw: (
    status: number,
    headers: Record<string, string | string[]>,
    body: string | Uint8Array = "",
  ): Behaviour => {
    return (_, res) => void res.writeHead(status, headers).end(body);
  },
  /** A server error whose body must never be seen by a caller. */
  failure: (status = 500): Behaviour => answers.json(status, SECRET_ERROR),
  /** Status 200 with an error instead of a completion, as JSON or as the first event of a stream. */
  errorIn200: (call: UpstreamCall, res: ServerResponse): void =>
    call.json["stream"] === true
      ? void res.writeHead(200, SSE).end(event(SECRET_ERROR))
      : sendJson(res, 200, SECRET_ERROR),
  /** The first of these words as a stream, then the connection breaks. */
  breakAfter: (...words: readonly string[]): Behaviour => {
    return (call, res) => {
      res.writeHead(200, SSE);
      res.write(words.map((word) => event(chunk(call, { content: word }))).join(""), () => breakOff(res));
    };
  },
  /** Half of an announced JSON body, then the connection breaks. */
  halfJson: (_: UpstreamCall, res: ServerResponse): void => {
    res.writeHead(200, { "Content-Type": "application/json", "Content-Length": 1_000 });
    res.write('{"id":"chatcmpl-1","choices":[', () => breakOff(res));
  },
  /** Closes the connection instead of answering. */
  reset: (_: UpstreamCall, res: ServerResponse): void => breakOff(res),
  /** Never answers. */
  hang: (): void => {},
  /** Compressed, whatever the caller accepts. */
  gzip: (text: string): Behaviour => {
    return (call, res) => {
      const isStream = call.json["stream"] === true;
      const body = isStream ? events(call, [text], USAGE) : JSON.stringify(completion(call, text, USAGE));
      const type = isStream ? SSE : { "Content-Type": "application/json" };
      res.writeHead(200, { ...type, "Content-Encoding": "gzip" }).end(gzipSync(body));
    };
  },
};

export function breakOff(res: ServerResponse): void {
  brokenByUs.add(res);
  res.destroy();
}

function goodAnswer(call: UpstreamCall, res: ServerResponse): void {
  const { path, method, json, body } = call;
  if (path.endsWith("/chat/completions")) {
    void answers.chat("Hello there!")(call, res);
  } else if (path.endsWith("/embeddings")) {
    const inputs = [json["input"]].flat();
    const vector = new Float32Array([0.25, -0.5, 1]);
    const embedding =
      json["encoding_format"] === "base64" ? Buffer.from(vector.buffer).toString("base64") : [...vector];
    const data = inputs.map((_, index) => ({ object: "embedding", index, embedding }));
    sendJson(res, 200, { object: "list", data, model: json["model"], usage: USAGE });
  } else sendJson(res, 200, { method, path, body: body.toString("base64") });
}

function completion(call: UpstreamCall, text: string, usage: Usage | null): unknown {
  const choices = [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }];
  const base = { id: "chatcmpl-1", object: "chat.completion", created: 1_795_132_800, choices };
  return { ...base, model: call.json["model"], ...(usage === null ? {} : { usage }) };
}

export function chunk(
  call: UpstreamCall,
  delta: unknown,
  finish: string | null = null,
): Record<string, unknown> {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_795_132_800, choices };
  return { ...base, model: call.json["model"] };
}

function events(call: UpstreamCall, texts: readonly string[], usage: Usage | null): string {
  const role = event(chunk(call, { role: "assistant", content: "" }));
  return [role, ...texts.map((content) => event(chunk(call, { content }))), closing(call, usage)].join("");
}

export function closing(call: UpstreamCall, usage: Usage | null): string {
  const counted = usage === null ? "" : event({ ...chunk(call, {}), choices: [], usage });
  return `${event(chunk(call, {}, "stop"))}${counted}data: [DONE]\n\n`;
}

export function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
}
