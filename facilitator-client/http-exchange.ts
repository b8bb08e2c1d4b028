import type { CancelSignal } from "./cancellation.ts";
import type { Dispatcher } from "./http-pool.ts";

/**
 * What one HTTP exchange came to. `sent: false` is a proof: undici had not begun to write the request, so nobody can
 * have handled it. `sent: true` only means that it may have been handled.
 * `connection`: the transport failed (as opposed to a limit of ours); `reason` is a word for logs.
 */
export type Exchange =
  | { readonly kind: "response"; readonly status: number; readonly body: Buffer }
  | {
      readonly kind: "failed";
      readonly sent: boolean;
      readonly connection: boolean;
      readonly reason: string;
    };

export interface ExchangeRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Name, value, name, value: the form undici copies least. */
  readonly headers: string[];
  readonly body: Buffer | undefined;
  /** From now to the last byte of the answer, waiting for a connection included, ms. */
  readonly timeoutMs: number;
  /** A longer answer is dropped. */
  readonly maxBytes: number;
  readonly signal: CancelSignal | undefined;
}

/**
 * Writes one request at most once and reads the whole answer. Never rejects.
 *
 * It stands on `dispatch` rather than `request` because only there it can be told whether writing has begun, and because
 * a second write (undici may put a request back in its queue) can be forbidden.
 */
export function exchange(dispatcher: Dispatcher, request: ExchangeRequest): Promise<Exchange> {
  return new Promise((resolve) => {
    const handler = new ExchangeHandler(request, resolve);
    if (handler.finished) return;
    try {
      dispatcher.dispatch(
        { method: request.method, path: request.path, headers: request.headers, body: request.body ?? null },
        handler,
      );
    } catch (error) {
      handler.fail(transportReason(error), true);
    }
  });
}

class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request: ExchangeRequest;
  readonly #resolve: (result: Exchange) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = () => this.#giveUp("cancelled");
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #bytes = 0;
  #finished = false;

  constructor(request: ExchangeRequest, resolve: (result: Exchange) => void) {
    this.#request = request;
    this.#resolve = resolve;
    this.#timer = setTimeout(() => this.#giveUp("timeout"), request.timeoutMs);
    if (request.signal?.aborted) this.#giveUp("cancelled");
    else request.signal?.addEventListener("abort", this.#onAbort);
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Called just before the first byte is written; aborting here prevents the write. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#finished) {
      controller.abort(new Error("given up before it was sent"));
      return;
    }
    if (this.#controller !== undefined) {
      this.fail("connection_lost", true);
      controller.abort(new Error("never written twice"));
      return;
    }
    this.#controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#finished) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#request.maxBytes) this.#giveUp("oversized_reply");
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const [first] = this.#chunks;
    const body = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#finish({ kind: "response", status: this.#status, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(transportReason(error), true);
  }

  fail(reason: string, connection: boolean): void {
    const sent = this.#controller !== undefined;
    const word = connection ? `${sent ? "connection_lost" : "connect_failed"}:${reason}` : reason;
    this.#finish({ kind: "failed", sent, connection, reason: word });
  }

  #giveUp(reason: string): void {
    this.fail(reason, false);
    this.#controller?.abort(new Error(reason));
  }

  #finish(result: Exchange): void {
    if (this.#finished) return;
    this.#finished = true;
    clearTimeout(this.#timer);
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve(result);
  }
}

function transportReason(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.name : "unknown";
}
