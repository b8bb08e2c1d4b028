import type { IncomingHttpHeaders } from "node:http";
import type { CancelSignal } from "../../facilitator-client/cancellation.ts";
import { type Dispatcher, errors } from "../../facilitator-client/http-pool.ts";
import { GatewayError } from "../errors.ts";
import { oneOfEach } from "./upstream-headers.ts";

export interface UpstreamRequest extends Pick<Dispatcher.DispatchOptions, "method" | "path"> {
  /** Flat list of names and values. */
  readonly headers: string[];
  readonly body: Buffer | null;
  readonly signal: CancelSignal;
  /** The request is written to a connection now, and no longer waits for one. */
  readonly onSending: () => void;
}

/** The head of an upstream's answer, and its body as it comes. Reading throws `GatewayError`. */
export interface UpstreamAnswer {
  readonly status: number;
  /** Each once, see {@link oneOfEach}. */
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** To be read to the end, or left by `break`, which closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Gives up what was not read. Whoever asked calls it in the end, whatever happened: else the connection may stay open. */
  discard(): void;
}

/** Such an answer ends with its head, whatever length it names (RFC 9112 §6.3). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}

/** What undici says of an answer that is no HTTP. The last one also of a head with two lengths. */
const NONSENSE: ReadonlySet<string> = new Set([
  "HTTPParserError",
  "HeadersOverflowError",
  "ResponseContentLengthMismatchError",
]);
/** So much of a body may wait for its reader before the connection is read no further. */
const MAX_WAITING_BYTES = 64 * 1024;

/**
 * Sends a request, and resolves with the head of its answer. Rejects with `upstream_unreachable` (502), `upstream_timeout`
 * (504) or `upstream_failed` (502). It stands on `dispatch`: undici's `request` makes a stream and an asynchronous resource for each call, and
 * does not tell when a request leaves. `headersTimeoutMs` is from there to the answer's head, however often the upstream says meanwhile
 * that it is at work (1xx), which is where the dispatcher's own limit begins anew.
 */
export function sendRequest(
  dispatcher: Dispatcher,
  request: UpstreamRequest,
  headersTimeoutMs: number,
): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    const { method, path, headers, body } = request;
    const receiver = new Receiver(request, headersTimeoutMs, resolve, reject);
    dispatcher.dispatch({ method, path, headers, body, headersTimeout: headersTimeoutMs }, receiver);
  });
}

type Read = IteratorResult<Uint8Array, undefined>;

interface Reader {
  resolve(read: Read): void;
  reject(error: GatewayError): void;
}

class Receiver implements Dispatcher.DispatchHandler, AsyncIterableIterator<Uint8Array> {
  readonly #request: UpstreamRequest;
  readonly #headersTimeoutMs: number;
  readonly #resolve: (answer: UpstreamAnswer) => void;
  readonly #reject: (error: GatewayError) => void;
  readonly #onAbort = (): void => this.#giveUp(new Error("nobody takes the answer"));
  #controller: Dispatcher.DispatchController | undefined;
  #sentAt = 0;
  /** Of an upstream that has said that it is at work. */
  #patience: NodeJS.Timeout | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #reader: Reader | undefined;
  #ended = false;
  #failure: GatewayError | undefined;

  constructor(
    request: UpstreamRequest,
    headersTimeoutMs: number,
    resolve: (answer: UpstreamAnswer) => void,
    reject: (error: GatewayError) => void,
  ) {
    this.#request = request;
    this.#headersTimeoutMs = headersTimeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
    if (request.signal.aborted) this.#onAbort();
    else request.signal.addEventListener("abort", this.#onAbort);
  }

  /** Called just before the first byte is written; aborting here prevents the write. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#failure !== undefined) {
      controller.abort(new Error("given up before it was sent"));
      return;
    }
    this.#controller = controller;
    this.#sentAt = performance.now();
    this.#request.onSending();
  }

  onResponseStart(
    _controller: unknown,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    // Of what is said before the answer (103 and the like) nothing is passed on.
    if (status < 200) {
      this.#patience ??= setTimeout(
        () => this.#giveUp(new errors.HeadersTimeoutError()),
        Math.max(0, this.#sentAt + this.#headersTimeoutMs - performance.now()),
      );
      return;
    }
    clearTimeout(this.#patience);
    // undici fails when no body comes of the length that a head may name all the same.
    if (isBodiless(status)) this.onResponseEnd();
    this.#resolve({ status, headers: oneOfEach(headers), body: this, discard: () => void this.return() });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve({ value: chunk, done: false });
      return;
    }
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= MAX_WAITING_BYTES) controller.pause();
  }

  onResponseEnd(): void {
    this.#stopListening();
    this.#ended = true;
    this.#reader?.resolve({ value: undefined, done: true });
    this.#reader = undefined;
  }

  onResponseError(_controller: unknown, cause: Error): void {
    this.#fail(cause);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Read> {
    const chunk = this.#waiting.shift();
    if (chunk !== undefined) {
      this.#waitingBytes -= chunk.length;
      if (this.#waitingBytes === 0) this.#controller?.resume();
      return Promise.resolve({ value: chunk, done: false });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  return(): Promise<Read> {
    if (!this.#ended) this.#giveUp(new Error("nobody reads the answer"));
    return Promise.resolve({ value: undefined, done: true });
  }

  #giveUp(reason: Error): void {
    this.#fail(reason);
    this.#controller?.abort(reason);
  }

  /** What has come already is read no more: an answer that breaks off is none. */
  #fail(cause: unknown): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#stopListening();
    this.#failure = brokenOff(cause);
    this.#waiting = [];
    this.#reject(unanswered(cause));
    this.#reader?.reject(this.#failure);
    this.#reader = undefined;
  }

  #stopListening(): void {
    clearTimeout(this.#patience);
    this.#request.signal.removeEventListener("abort", this.#onAbort);
  }
}

/** The request failed before there was a response head. */
function unanswered(cause: unknown): GatewayError {
  if (isTimeout(cause)) return new GatewayError("upstream_timeout", { cause });
  const spokeNonsense = cause instanceof Error && NONSENSE.has(cause.name);
  return new GatewayError(spokeNonsense ? "upstream_failed" : "upstream_unreachable", { cause });
}

/** It failed while its body came. */
function brokenOff(cause: unknown): GatewayError {
  return new GatewayError(isTimeout(cause) ? "upstream_timeout" : "upstream_failed", { cause });
}

function isTimeout(cause: unknown): boolean {
  return ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"].includes(codeOf(cause));
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}
