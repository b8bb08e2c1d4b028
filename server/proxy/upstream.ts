import type { CancelSignal } from "../../facilitator-client/cancellation.ts";
import { Pool } from "../../facilitator-client/http-pool.ts";
import type { UpstreamConfig } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { decodedBody } from "./content-coding.ts";
import { sendRequest, type UpstreamAnswer, type UpstreamRequest } from "./upstream-request.ts";

/** The endpoints of an OpenAI-compatible server that we sell. */
export type ModelEndpoint = "chat" | "embeddings";

export interface GenerateOptions {
  readonly signal: CancelSignal;
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

/** One upstream over HTTP, on a pool of its own. */
export interface HttpUpstream extends ModelBackend {
  readonly name: string;
  readonly base: URL;
  readonly apiKey: string | undefined;
  /**
   * Sends as it is; the path is one below the upstream's URL, beginning with a slash. Rejects with `upstream_unreachable`
   * (502), `upstream_timeout` (504) or `upstream_failed` (502).
   */
  send(request: UpstreamRequest): Promise<UpstreamAnswer>;
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
  const pool = new Pool(base.origin, {
    connect: { timeout: CONNECT_TIMEOUT_MS },
    bodyTimeout: config.bodyTimeoutMs,
  });

  const send = (request: UpstreamRequest) => sendRequest(pool, request, config.headersTimeoutMs);

  async function generate(
    endpoint: ModelEndpoint,
    payload: Readonly<Record<string, unknown>>,
    { signal, apiKey, onSending }: GenerateOptions,
  ): Promise<UpstreamAnswer> {
    const answer = await send({
      method: "POST",
      path: `${modelPrefix}${MODEL_PATHS[endpoint]}`,
      headers: apiKey === undefined ? operatorsHeaders : modelHeaders(apiKey),
      body: Buffer.from(JSON.stringify(payload)),
      signal,
      onSending,
    });
    const body = decodedBody(answer.body, answer.headers["content-encoding"]);
    if (body !== undefined) return { ...answer, body };
    answer.discard();
    throw new GatewayError("upstream_failed", { cause: new Error("an unknown content coding") });
  }

  async function isAlive(timeoutMs: number): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const answer = await send({
        method: "HEAD",
        path: `${prefix}/`,
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
    send: (request) => send({ ...request, path: `${prefix}${request.path}` }),
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
