import { z } from "zod";
import { ChainError } from "./chain.ts";

/** The part of `fetch` that JSON-RPC needs. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface RpcOptions {
  /** May carry an access key in its path or query: never shown in an error. */
  readonly url: string;
  /** For each request, to the last byte of the answer, ms. */
  readonly timeoutMs: number;
  readonly fetch?: Fetch;
}

/** One JSON-RPC 2.0 call; the result is parsed by `schema`. Rejects with {@link ChainError} only. */
export type Rpc = <T>(method: string, params: readonly unknown[], schema: z.ZodType<T>) => Promise<T>;

/** A full page of `getSignaturesForAddress` is about 300 KiB. */
const MAX_REPLY_BYTES = 4 * 1024 * 1024;

const reply = z.union([
  z.object({ error: z.object({ code: z.number() }) }),
  z.object({ error: z.null().optional(), result: z.unknown() }),
]);

/** JSON-RPC over HTTP POST. Not retried here; redirects are errors; no text of the node reaches an error message. */
export function createRpc(options: RpcOptions): Rpc {
  const { url, timeoutMs, fetch = globalThis.fetch } = options;
  let nextId = 1;

  async function ask(method: string, params: readonly unknown[]): Promise<unknown> {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: nextId++, method, params }),
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
    // Whatever its body says: a node's proxy that is overloaded (429, 5xx) has not asked the chain.
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`The status is ${response.status}.`);
    }
    return JSON.parse(await readBounded(response));
  }

  return async (method, params, schema) => {
    const answer = await ask(method, params).catch((cause: unknown) => {
      throw new ChainError(`The node did not answer ${method} properly.`, { cause });
    });
    const parsed = reply.safeParse(answer);
    if (!parsed.success) throw new ChainError(`The node's answer to ${method} is no JSON-RPC.`);
    if ("result" in parsed.data) {
      const result = schema.safeParse(parsed.data.result);
      if (result.success) return result.data;
      throw new ChainError(`The node's answer to ${method} has an unexpected shape.`, {
        cause: result.error,
      });
    }
    const code = parsed.data.error?.code;
    throw new ChainError(`The node refused ${method}${code === undefined ? "" : ` with error ${code}`}.`);
  };
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_REPLY_BYTES) throw new Error("The answer is too long.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
