import type { IncomingHttpHeaders } from "node:http";
import type { ModelConfig, UpstreamConfig } from "../config.ts";
import { GatewayError } from "../errors.ts";
import type { Route } from "../routes.ts";
import { prepareAgent } from "./agent.ts";
import { answerFailure } from "./answer.ts";
import { createEchoModel } from "./echo-model.ts";
import { prepareForward } from "./forward.ts";
import { type CallPrices, createModelCatalog, type ModelList } from "./model-catalog.ts";
import { prepareOpenai } from "./openai.ts";
import type { Prepared, ProxyCall } from "./proxy-call.ts";
import { parseJsonBody } from "./request-json.ts";
import { createHttpUpstream, type HttpUpstream, type ModelBackend } from "./upstream.ts";

export interface ProxyOptions {
  /** One without a URL is the built-in model. */
  readonly upstreams: readonly UpstreamConfig[];
  readonly models: readonly ModelConfig[];
  /** Used by `/agent` when it names no model. */
  readonly defaultModel: string;
  /** Media types of forwarded answers that stream. */
  readonly streamingTypes?: readonly string[];
  /** Hears why an upstream failed, for the log: the caller is told only that it did. */
  readonly onFault?: (error: unknown, at: FailedCall) => void;
}

/** Which call failed, as far as operators need it to mend its upstream. */
export interface FailedCall {
  readonly upstream: string;
  /** The public name; undefined for a plain forward. */
  readonly model: string | undefined;
  /** What it answered; undefined for an upstream that did not. */
  readonly upstreamStatus: number | undefined;
}

/** What answers the priced routes once they are paid: models, the agent, plain forwards. */
export interface UpstreamProxy {
  /**
   * Before anything is claimed: checks path and body and finds the model. Fails with 400 `invalid_json` or `invalid_request`,
   * 404 `model_not_found`. A route whose target is `handler` is not ours: `not_found`.
   */
  prepare(
    route: Route,
    method: string,
    url: string,
    headers: IncomingHttpHeaders,
    body: Buffer,
  ): GatewayError | Prepared;
  /**
   * Runs the call and writes the answer; resolves when it was handed over or nobody takes it, never rejects. A failure before
   * the first byte is answered in the mount's dialect (502, 504); one after it breaks the connection (`res.destroy`).
   */
  run(prepared: Prepared, call: ProxyCall): Promise<void>;
  /** The body of `GET /v1/models`. */
  models(prices: CallPrices): ModelList;
  /** Which upstreams answer, by name. Asked at most every few seconds, within a time limit. */
  ready(): Promise<Readonly<Record<string, boolean>>>;
  /** Drops every connection. */
  close(): Promise<void>;
}

const STREAMING_TYPES = ["text/event-stream", "application/x-ndjson"];
const PROBE_TIMEOUT_MS = 2_000;
const PROBE_EVERY_MS = 3_000;

/** Throws if a model names an upstream that is not there. */
export function createProxy(options: ProxyOptions): UpstreamProxy {
  const { streamingTypes = STREAMING_TYPES } = options;
  const upstreams = new Map<string, HttpUpstream>();
  const backends = new Map<string, ModelBackend>();
  for (const config of options.upstreams) {
    if (config.url === undefined) {
      backends.set(config.name, createEchoModel());
      continue;
    }
    const upstream = createHttpUpstream(config, config.url);
    upstreams.set(config.name, upstream);
    backends.set(config.name, upstream);
  }
  const createdSeconds = Math.floor(Date.now() / 1_000);
  const catalog = createModelCatalog(options.models, options.defaultModel, backends, createdSeconds);
  const probe = createProbe([...backends.keys()], upstreams);

  return {
    prepare({ target, price }, method, url, headers, body) {
      if (target.kind === "forward") {
        const upstream = upstreams.get(target.upstream);
        if (upstream === undefined) return new GatewayError("upstream_unreachable");
        return prepareForward(upstream, method, url, price, streamingTypes);
      }
      if (target.kind === "handler" || target.kind === "credit") return new GatewayError("not_found");
      const coding = headers["content-encoding"] ?? "identity";
      if (coding !== "identity") {
        return new GatewayError("invalid_request", { message: "The request body must not be compressed." });
      }
      const json = parseJsonBody(body);
      if (json instanceof GatewayError) return json;
      return target.kind === "agent"
        ? prepareAgent(json, catalog, price)
        : prepareOpenai(target.endpoint, json, catalog, price);
    },
    async run(prepared, call) {
      try {
        await prepared.execute(call);
      } catch (error) {
        if (!call.signal.aborted && !call.res.writableEnded) {
          const { provider: upstream, model } = prepared;
          options.onFault?.(error, { upstream, model, upstreamStatus: call.meter.reported().upstreamStatus });
        }
        await answerFailure(call, error);
      }
    },
    models: catalog.list,
    ready: probe,
    async close() {
      await Promise.all([...upstreams.values()].map((upstream) => upstream.close()));
    },
  };
}

/** Single flight, and the last answer for a while: a health check must not become a load on the upstream. */
function createProbe(
  names: readonly string[],
  upstreams: ReadonlyMap<string, HttpUpstream>,
): () => Promise<Readonly<Record<string, boolean>>> {
  let asked = 0;
  let answer: Promise<Readonly<Record<string, boolean>>> | undefined;
  const ask = async (): Promise<Readonly<Record<string, boolean>>> => {
    const entries = names.map(async (name) => {
      const upstream = upstreams.get(name);
      return [name, upstream === undefined || (await upstream.isAlive(PROBE_TIMEOUT_MS))] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  };
  return () => {
    const now = performance.now();
    if (answer === undefined || now - asked > PROBE_EVERY_MS) {
      asked = now;
      answer = ask();
    }
    return answer;
  };
}
