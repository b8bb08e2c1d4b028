import type { IncomingHttpHeaders } from "node:http";
import type { UpstreamConfig } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { decodedBody } from "./content-coding.ts";
import { type SendingOptions, SendingPool } from "./sending-pool.ts";

/** The endpoints of an OpenAI-compatible server that we sell. */
export type ModelEndpoint = "chat" | "embeddings";

/** The head of an upstream's answer, and its body as it comes. Reading throws `GatewayError`. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** To be read to the end, or left by `break`, which closes the connection; else call {@link discard}. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Gives the body up unread. */
  discard(): void;
}

export interface GenerateOptions {
  readonly signal: AbortSignal;
  /** Sent in the place of the operator's key; undefined: that one. */
  readonly apiKey: string | undefined;
  /** The request is on its way. */
  readonly onSending: () => void;
}

/** What runs a model: an OpenAI-compatible server, or the built-in one. */
export interface ModelBackend {
  /** Named in answers as the provider. */
  readonly provider: string;
  /** The field that caps the output; servers of the o-series know only the newer one, Ollama only the older. */
  readonly outputLimitField: "max_tokens" | "max_completion_tokens";
  /** Its API key and address: never to appear in an answer. */
  readonly secrets: readonly string[];
  /** The answer is never compressed. Throws `GatewayError` if there is none. */
  generate(
    endpoint: ModelEndpoint,
    request: Readonly<Record<string, unknown>>,
    options: GenerateOptions,
  ): Promise<UpstreamAnswer>;
}

export interface ForwardRequest {
  readonly method: string;
  /** Path and query below the upstream's URL, beginning with a slash. */
  readonly path: string;
  /** Flat list of names and values. */
  readonly headers: string[];
  readonly body: Buffer | null;
  readonly signal: AbortSignal;
  /** The request is on its way. */
  readonly onSending: () => void;
}

/** One upstream over HTTP, on a pool of its own. */
export interface HttpUpstream extends ModelBackend {
  readonly name: string;
  readonly base: URL;
  readonly apiKey: string | undefined;
  /** Sends as it is. Throws `upstream_unreachable` (502), `upstream_timeout` (504) or `upstream_failed` (502). */
  send(request: ForwardRequest): Promise<UpstreamAnswer>;
  /** Whether it answers anything but a server error within the time limit. */
  isAlive(timeoutMs: number): Promise<boolean>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const MODEL_PATHS = { chat: "/chat/completions", embeddings: "/embeddings" } as const;
/** The only servers that refuse `max_tokens` (for their reasoning models); Ollama in turn ignores its successor. */
const NEEDS_NEWER_LIMIT = /^api\.openai\.com$|\.openai\.azure\.com$/;

/** Opens a pool to an upstream; connections are made when they are needed. */
export function createHttpUpstream(config: UpstreamConfig, url: string): HttpUpstream {
  const base = new URL(url);
  const prefix = base.pathname.replace(/\/+$/, "");
  // As with the OpenAI SDK's baseURL a path is the whole prefix; a bare host gets the usual one.
  const modelPrefix = prefix === "" ? "/v1" : prefix;
  const operatorsHeaders = modelHeaders(config.apiKey);
  const pool = new SendingPool(base.origin, {
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: config.headersTimeoutMs,
    bodyTimeout: config.bodyTimeoutMs,
  });

  async function request(path: string, options: Omit<ForwardRequest, "path">): Promise<UpstreamAnswer> {
    const sent: SendingOptions = { ...options, path };
    try {
      const answer = await pool.request(sent);
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: readable(answer.body),
        discard: () => void answer.body.on("error", () => {}).destroy(),
      };
    } catch (cause) {
      throw unanswered(cause);
    }
  }

  async function generate(
    endpoint: ModelEndpoint,
    payload: Readonly<Record<string, unknown>>,
    { signal, apiKey, onSending }: GenerateOptions,
  ): Promise<UpstreamAnswer> {
    const answer = await request(`${modelPrefix}${MODEL_PATHS[endpoint]}`, {
      method: "POST",
      headers: apiKey === undefined ? operatorsHeaders : modelHeaders(apiKey),
      body: Buffer.from(JSON.stringify(payload)),
      signal,
      onSending,
    });
    const body = decodedBody(answer.body, answer.headers["content-encoding"]);
    if (body !== undefined) return { ...answer, body };
    answer.discard();
    throw new GatewayError("upstream_failed");
  }

  async function isAlive(timeoutMs: number): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const answer = await request(`${prefix}/`, {
        method: "HEAD",
        headers: [],
        body: null,
        signal,
        onSending: () => {},
      });
      answer.discard();
      // 501: alive, and does not know HEAD.
      return answer.status < 500 || answer.status === 501;
    } catch {
      return false;
    }
  }

  return {
    name: config.name,
    provider: config.name,
    base,
    apiKey: config.apiKey,
    outputLimitField: NEEDS_NEWER_LIMIT.test(base.hostname) ? "max_completion_tokens" : "max_tokens",
    secrets: config.apiKey === undefined ? [base.host] : [config.apiKey, base.host],
    send: (options) => request(`${prefix}${options.path}`, options),
    generate,
    isAlive,
    close: () => pool.destroy(),
  };
}

/** None of the caller's: some select a paid feature or another account of the operator's. */
function modelHeaders(apiKey: string | undefined): string[] {
  return [
    "content-type",
    "application/json",
    "accept",
    "application/json, text/event-stream",
    "accept-encoding",
    "identity",
    "user-agent",
    "farebox",
    ...(apiKey === undefined ? [] : ["authorization", `Bearer ${apiKey}`]),
  ];
}

async function* readable(body: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) {
      if (chunk instanceof Uint8Array) yield chunk;
    }
  } catch (cause) {
    throw new GatewayError(isTimeout(cause) ? "upstream_timeout" : "upstream_failed", { cause });
  }
}

/** The request failed before there was a response head. */
function unanswered(cause: unknown): GatewayError {
  if (isTimeout(cause)) return new GatewayError("upstream_timeout", { cause });
  const spokeNonsense =
    cause instanceof Error && ["HTTPParserError", "HeadersOverflowError"].includes(cause.name);
  return new GatewayError(spokeNonsense ? "upstream_failed" : "upstream_unreachable", { cause });
}

function isTimeout(cause: unknown): boolean {
  return ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"].includes(codeOf(cause));
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}
