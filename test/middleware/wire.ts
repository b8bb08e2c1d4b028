import { once } from "node:events";
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { buffer } from "node:stream/consumers";
import type { Payment } from "./stand.ts";

/** One request with a payment, by hand: its connection can be watched, paused and cut. */
export interface RawCall {
  readonly request: ClientRequest;
  /** Rejects if the connection breaks before the head of the answer. */
  readonly response: Promise<IncomingMessage>;
  /** Heads that came before that of the answer (1xx). */
  readonly early: readonly unknown[];
}

export interface RawOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  /** Leaves the request open: the test writes its body. */
  readonly open?: boolean;
}

/** Sends a request on a connection of its own. */
export function rawCall(url: string, payment: Payment, options: RawOptions = {}): RawCall {
  const { method = "GET", headers, open } = options;
  const request = httpRequest(url, { method, headers: { ...headers, ...payment }, agent: false });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
  const early: unknown[] = [];
  request.on("information", ({ statusCode, rawHeaders }) => early.push(statusCode, ...rawHeaders));
  // A cut connection is what some tests are about; who awaits the response still hears of it.
  response.catch(() => undefined);
  request.on("error", () => undefined);
  if (open !== true) request.end();
  return { request, response, early };
}

/** An answer as it came over the wire. */
export interface WholeAnswer {
  readonly status: number | undefined;
  readonly message: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly trailers: IncomingMessage["trailers"];
  readonly early: readonly unknown[];
}

export async function whole(call: RawCall): Promise<WholeAnswer> {
  const response = await call.response;
  const body = (await buffer(response)).toString("utf8");
  const { statusCode: status, statusMessage: message, headers, trailers } = response;
  return { status, message, headers, body, trailers, early: call.early };
}

/** The next bytes of a streamed answer, as text; "" at its end. */
export async function nextText(response: IncomingMessage): Promise<string> {
  for (;;) {
    const chunk: Buffer | null = response.read();
    if (chunk !== null) return chunk.toString("utf8");
    if (response.readableEnded) return "";
    await Promise.race([once(response, "readable"), once(response, "end")]);
  }
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

/** A promise that a test resolves: what streams is gated by it, not by time. */
export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Resolves when the response's connection is gone, or its answer sent. */
export async function closed(res: ServerResponse): Promise<void> {
  if (!res.closed) await once(res, "close");
}

/** Writes and waits for the callback; rejects with the callback's error. */
export function written(res: ServerResponse, chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    res.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
}
