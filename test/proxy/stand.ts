import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { ModelConfig, UpstreamConfig } from "../../server/config.ts";
import { errorBody, GatewayError } from "../../server/errors.ts";
import type { HoldRange } from "../../server/ledger/call-ledger.ts";
import { createProxy, type UpstreamProxy } from "../../server/proxy/proxy.ts";
import type { Billing, ReadableMeter } from "../../server/proxy/proxy-call.ts";
import type { Dialect, Route, Target } from "../../server/routes.ts";
import { type ModelUpstream, startModelUpstream } from "../support/model-upstream.ts";

export const SECRET_KEY = "operator-key-4711";

const SHARED = { upstream: "main", model: "internal-model", maxOutput: 100, imageTokens: 1_000 };
/** One token of input costs 1, one of output 3 micro-dollars. */
const BY_TOKEN = { kind: "tokens", input: 1_000_000n, output: 3_000_000n } as const;

const MODELS: readonly ModelConfig[] = [
  { ...SHARED, name: "public/model", pricing: undefined },
  { ...SHARED, name: "same-name", model: "same-name", pricing: undefined },
  { ...SHARED, name: "farebox/echo", upstream: "echo", model: "farebox/echo", pricing: undefined },
  { ...SHARED, name: "by/token", pricing: BY_TOKEN },
  { ...SHARED, name: "long/by-token", maxOutput: 10_000, pricing: BY_TOKEN },
  { ...SHARED, name: "by/call", pricing: { kind: "call", price: 7_000n } },
];

const BILLING: Billing = {
  tier: "x402",
  amount: "0.02",
  currency: "USD",
  transaction: "TransactionId",
  payer: "Payer",
};

/** A plain HTTP server that sells nothing: the proxy alone, before a model upstream and the built-in model. */
export interface Stand {
  readonly url: string;
  readonly proxy: UpstreamProxy;
  readonly upstream: ModelUpstream;
  /** What `onFault` heard. */
  readonly faults: unknown[];
  /** The payment in front; replaced by tests of the agent. */
  settle: (res: ServerResponse) => Promise<boolean>;
  /** How often it was asked to settle. */
  settled: number;
  /** Charges an answer before its last byte; replaced by tests of it. */
  chargeBeforeEnd: (res: ServerResponse) => Promise<boolean>;
  /** What is held for the calls that follow, and the customer's own key at the upstream. */
  budget: bigint | undefined;
  upstreamKey: string | undefined;
  /** Of each call that was prepared, in their order. */
  readonly quotes: HoldRange[];
  readonly meters: ReadableMeter[];
  /** Sees each response before the proxy does. */
  onResponse: (res: ServerResponse) => void;
  close(): Promise<void>;
}

export async function startStand(upstreamOptions: Partial<UpstreamConfig> = {}): Promise<Stand> {
  const upstream = await startModelUpstream();
  const url = upstreamOptions.url ?? upstream.url;
  const timeouts = { takesOwnKeys: false, headersTimeoutMs: 30_000, bodyTimeoutMs: 30_000 };
  const shared = { ...timeouts, apiKey: SECRET_KEY, ...upstreamOptions };
  const faults: unknown[] = [];
  const proxy = createProxy({
    upstreams: [
      { ...shared, name: "main", url },
      { ...timeouts, name: "echo", url: undefined, apiKey: undefined },
    ],
    models: MODELS,
    defaultModel: "public/model",
    onFault: (error) => faults.push(error),
  });
  const server = createServer(async (req, res) => {
    stand.onResponse(res);
    const { method = "", url: target = "" } = req;
    if (target === "/v1/models") {
      res.writeHead(200, { "Content-Type": "application/json" });
      res.end(JSON.stringify(proxy.models({ chat: 20_000n, embeddings: 2_000n })));
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const route = routeOf(method, target);
    const prepared = proxy.prepare(route, method, target, req.headers, body);
    if (prepared instanceof GatewayError) {
      res.writeHead(prepared.status, { "Content-Type": "application/json" });
      res.end(JSON.stringify(errorBody(prepared, route.dialect)));
      return;
    }
    const meter = prepared.quote.meter();
    stand.quotes.push(prepared.quote.range);
    stand.meters.push(meter);
    const left = new AbortController();
    res.once("close", () => res.writableFinished || left.abort());
    await proxy.run(prepared, {
      req,
      res,
      route,
      body,
      signal: left.signal,
      settle: () => {
        stand.settled++;
        return stand.settle(res);
      },
      billing: () => BILLING,
      chargeBeforeEnd: () => stand.chargeBeforeEnd(res),
      endsItself: () => {},
      breakOff: () => void res.destroy(),
      meter,
      budget: stand.budget,
      upstreamKey: stand.upstreamKey,
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stand: Stand = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    proxy,
    upstream,
    faults,
    settle: async () => true,
    settled: 0,
    chargeBeforeEnd: async () => true,
    budget: undefined,
    upstreamKey: undefined,
    quotes: [],
    meters: [],
    onResponse: () => {},
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await proxy.close();
      await upstream.close().catch(() => {});
    },
  };
  return stand;
}

function routeOf(method: string, target: string): Route {
  return {
    method,
    path: target,
    price: 20_000n,
    tiers: ["x402"],
    settle: "after",
    dialect: dialectOf(target),
    target: targetOf(target),
    description: "",
    mimeType: "application/json",
    tags: [],
    input: {},
  };
}

function dialectOf(target: string): Dialect {
  return target.startsWith("/api/v1/") ? "numeric" : "openai";
}

function targetOf(target: string): Target {
  if (target === "/agent") return { kind: "agent" };
  if (target.endsWith("/chat/completions")) return { kind: "openai", endpoint: "chat" };
  if (target.endsWith("/embeddings")) return { kind: "openai", endpoint: "embeddings" };
  return { kind: "forward", upstream: "main" };
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: ReturnType<typeof JSON.parse>;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders | readonly string[];
  readonly body?: string | Uint8Array;
}

/** One request over bare `node:http`: nothing is added, decoded or followed. Rejects if the answer is cut off. */
export function ask(base: string, path: string, options: Ask = {}): Promise<Reply> {
  const { method = "GET", headers = {}, body } = options;
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const req = request({
      hostname,
      port,
      path,
      method,
      headers: headers as OutgoingHttpHeaders,
      agent: false,
    });
    req.once("error", reject);
    req.once("response", async (res) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of res) chunks.push(chunk);
        const whole = Buffer.concat(chunks);
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          body: whole,
          get json() {
            return JSON.parse(whole.toString());
          },
        });
      } catch (error) {
        reject(error);
      }
    });
    req.end(body);
  });
}

/** The same for JSON. */
export function post(base: string, path: string, body: unknown, headers = {}): Promise<Reply> {
  return ask(base, path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

export const CHAT = { model: "public/model", messages: [{ role: "user", content: "Hi" }] };

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}
