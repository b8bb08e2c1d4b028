import { z } from "zod";
import type { HttpReply, HttpRequest } from "./http-server.ts";

/** One method; `params` as they came. Throws {@link RpcError} for what the caller is to be told. */
export type RpcMethod = (params: unknown) => unknown;

export const INVALID_PARAMS = -32602;
const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;
const MAX_BATCH = 100;

/** A JSON-RPC error; codes from -32001 down are Solana's own. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: unknown;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** A method whose parameters are checked; more of them than it knows are ignored, as a node does. */
export function rpcMethod<T>(schema: z.ZodType<T>, run: (params: T) => unknown): RpcMethod {
  return (params) => {
    const parsed = schema.safeParse(params ?? []);
    if (!parsed.success)
      throw new RpcError(INVALID_PARAMS, `Invalid params: ${z.prettifyError(parsed.error)}`);
    return run(parsed.data);
  };
}

const id = z.union([z.string(), z.number(), z.null()]);
const call = z.object({
  jsonrpc: z.literal("2.0"),
  id: id.optional(),
  method: z.string(),
  params: z.unknown().optional(),
});
const identified = z.object({ id });

/** Answers JSON-RPC 2.0 over HTTP POST, single calls and batches. */
export function createRpcHandler(methods: ReadonlyMap<string, RpcMethod>) {
  function answerOne(request: unknown): unknown {
    const parsed = call.safeParse(request);
    if (!parsed.success) {
      const known = identified.safeParse(request);
      return failure(known.success ? known.data.id : null, INVALID_REQUEST, "Invalid request");
    }
    const { method: name, params } = parsed.data;
    const callId = parsed.data.id ?? null;
    const method = methods.get(name);
    if (method === undefined) return failure(callId, METHOD_NOT_FOUND, "Method not found");
    try {
      return { jsonrpc: "2.0", id: callId, result: method(params) };
    } catch (error) {
      if (error instanceof RpcError) return failure(callId, error.code, error.message, error.data);
      return failure(callId, INTERNAL_ERROR, "Internal error");
    }
  }

  return ({ method, path, body }: HttpRequest): HttpReply => {
    if (method === "GET" && path === "/health") return { status: 200, body: "ok" };
    if (method !== "POST") return { status: 405, body: { error: { code: "method_not_allowed" } } };
    let request: unknown;
    try {
      request = JSON.parse(body);
    } catch {
      return { status: 200, body: failure(null, PARSE_ERROR, "Parse error") };
    }
    if (!Array.isArray(request)) return { status: 200, body: answerOne(request) };
    if (request.length === 0 || request.length > MAX_BATCH) {
      return { status: 200, body: failure(null, INVALID_REQUEST, `A batch has 1 to ${MAX_BATCH} calls`) };
    }
    return { status: 200, body: request.map(answerOne) };
  };
}

function failure(callId: string | number | null, code: number, message: string, data?: unknown) {
  return { jsonrpc: "2.0", id: callId, error: { code, message, ...(data === undefined ? {} : { data }) } };
}
