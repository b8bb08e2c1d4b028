import type { IncomingMessage, ServerResponse } from "node:http";
import { GatewayError } from "../errors.ts";
import { type AnswerCopy, createAnswerCopy } from "./answer-copy.ts";
import type { Charge } from "./charge.ts";
import { createEventProbe, type EventProbe } from "./event-probe.ts";
import { interceptResponse, type ResponseSink } from "./response-methods.ts";
import { closedByUs } from "./who-broke-it.ts";

export interface GateOptions {
  readonly streamingTypes: readonly string[];
  /** Bytes that may wait before the gate must open. */
  readonly gateBytes: number;
  /** Largest answer kept for a retry; 0 keeps none. */
  readonly keepBytes: number;
  readonly now: () => number;
  /** Writes an error in the handler's place, by the response's own methods. */
  readonly answer: (error: GatewayError) => void;
}

/** A settled answer whose client left is waited for this long; then the payment is parked without it. */
const DETACHED_MS = 120_000;
const BROKEN = "handler_destroyed_response";

/**
 * waiting: holding the handler's bytes. deciding: settling, or releasing. open: settled and streaming. free: uncharged and
 * passing through. detached: settled, the client left, collecting the answer for its retry. dismissed: the handler talks
 * to nobody, since we answered or nobody is there. done: sent.
 */
type Phase = "waiting" | "deciding" | "open" | "free" | "detached" | "dismissed" | "done";

/**
 * Holds the first bytes of a handler's answer until the charge is settled, then lets it stream (design: section 3).
 * Invariant: no byte of a successful answer leaves before `charge.settle` has succeeded, and the charge ends exactly once.
 */
export class Gate implements ResponseSink {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #charge: Charge;
  readonly #options: GateOptions;
  readonly #abort = new AbortController();
  readonly #restore: () => void;
  readonly #deadline: NodeJS.Timeout;
  readonly #copy: AnswerCopy;
  /** Set before the handler ran (CORS, an operator's own): kept when the handler's answer is discarded. */
  readonly #earlierHeaders: ReadonlySet<string>;
  #phase: Phase = "waiting";
  #held: Buffer[] = [];
  #heldBytes = 0;
  #callbacks: (() => void)[] = [];
  #probe: EventProbe | undefined | "unmade" = "unmade";
  #proof: Readonly<Record<string, string>> = {};
  #headDone = false;
  #ended = false;
  #owesDrain = false;
  #localBreak = false;
  #clientGone = false;

  constructor(req: IncomingMessage, res: ServerResponse, charge: Charge, options: GateOptions) {
    this.#req = req;
    this.#res = res;
    this.#charge = charge;
    this.#options = options;
    this.#copy = createAnswerCopy(options.keepBytes);
    this.#earlierHeaders = new Set(res.getHeaderNames());
    res.once("close", () => this.#onClose());
    res.once("finish", () => this.#onFinish());
    const wait = Math.max(0, charge.settleBy - options.now());
    this.#deadline = setTimeout(() => void this.settle(), wait).unref();
    this.#restore = interceptResponse(res, this);
  }

  /** Aborted when the answer is no longer wanted: cancel the upstream. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get headersSent(): boolean {
    return this.#phase === "dismissed" ? false : this.#headDone;
  }

  get writableEnded(): boolean {
    return this.#ended;
  }

  get keepsHeaders(): boolean {
    return this.#phase !== "dismissed";
  }

  /**
   * Settles now without opening: at the settle-by deadline, or because the answer itself names the transaction.
   * True: settled, go on. False: the caller has been answered; write nothing.
   */
  async settle(): Promise<boolean> {
    if (this.#phase === "dismissed" || this.#phase === "free") return false;
    const result = await this.#charge.settle(() => this.#res.closed);
    if (result.outcome === "settled") {
      this.#proof = result.headers;
      return true;
    }
    this.#refuse(result.error);
    return false;
  }

  /** The server is stopping: what streams is ended cleanly, what has not begun is refused uncharged. */
  cutOff(): void {
    if (this.#phase === "waiting" && !this.#charge.settling) {
      void this.#fail(new GatewayError("shutting_down", { retryAfterSeconds: 2 }), "shutting_down");
    } else if (this.#phase === "open" || this.#phase === "free") {
      this.#res.end();
      this.#abort.abort();
    } else if (this.#phase === "detached") {
      this.#park();
    }
  }

  head(): void {
    if (this.#phase !== "dismissed") this.#headDone = true;
  }

  write(chunk: Buffer, done: () => void): boolean {
    if (this.#phase === "dismissed") return acknowledge(done);
    this.#hold(chunk);
    if (this.#phase === "detached") {
      if (this.#copy.overflowed) this.#park();
      return acknowledge(done);
    }
    this.#evaluate(chunk);
    if (this.#phase === "waiting") return acknowledge(done);
    this.#callbacks.push(done);
    this.#owesDrain = true;
    return false;
  }

  end(chunk: Buffer | undefined, done: () => void): void {
    if (this.#phase === "dismissed") acknowledge(done);
    if (this.#ended || this.#phase === "dismissed") return;
    if (chunk !== undefined) this.#hold(chunk);
    this.#ended = true;
    this.#callbacks.push(done);
    if (this.#phase === "detached") this.#park();
    else this.#evaluate(chunk);
  }

  flushHeaders(): void {
    if (this.#phase !== "waiting") return;
    if (this.#res.statusCode >= 400) void this.#passUncharged("handler_failed");
    else void this.#open();
  }

  destroy(): boolean {
    this.#localBreak = true;
    if (this.#phase === "waiting") void this.#fail(new GatewayError("upstream_failed"), BROKEN);
    if (this.#phase === "detached") this.#park();
    return this.#phase === "deciding" || this.#phase === "dismissed";
  }

  #hold(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    this.#copy.add(chunk);
  }

  /** The one place that decides whether what is held may go: as it is, for money, or not yet. */
  #evaluate(chunk: Buffer | undefined): void {
    if (this.#phase !== "waiting") return;
    const probe = this.#streamProbe();
    if (this.#res.statusCode >= 400) void this.#passUncharged("handler_failed");
    else if (probe !== undefined && chunk !== undefined && probe.feed(chunk)) void this.#open();
    else if (this.#ended && probe?.end() === false) void this.#passUncharged("stream_without_event");
    else if (this.#ended || this.#heldBytes > this.#options.gateBytes) void this.#open();
  }

  #streamProbe(): EventProbe | undefined {
    if (this.#probe === "unmade") {
      const type = String(this.#res.getHeader("content-type") ?? "");
      const encoding = String(this.#res.getHeader("content-encoding") ?? "identity");
      this.#probe = createEventProbe(type, encoding, this.#options.streamingTypes);
    }
    return this.#probe;
  }

  async #open(): Promise<void> {
    this.#phase = "deciding";
    const result = await this.#charge.settle(() => this.#res.closed);
    if (result.outcome === "failed") {
      this.#refuse(result.error);
      return;
    }
    this.#proof = result.headers;
    if (this.#clientGone) this.#detach();
    else if (this.#localBreak && !this.#ended) {
      await this.#fail(new GatewayError("upstream_failed"), BROKEN);
    } else {
      this.#phase = "open";
      this.#flush();
    }
  }

  /** The handler failed: its answer goes out as it is. Unsettled money never moves; settled money is owed. */
  async #passUncharged(reason: string): Promise<void> {
    this.#phase = "deciding";
    const settled = this.#charge.settling ? await this.#charge.settle(() => false) : undefined;
    if (settled?.outcome === "settled") this.#proof = settled.headers;
    await this.#charge.release({ reason, by: "server", worked: true });
    if (this.#clientGone) {
      this.#dismiss();
      return;
    }
    this.#phase = "free";
    this.#flush();
  }

  /** Before a byte was sent: a clean error instead of a dead connection. */
  async #fail(error: GatewayError, reason: string): Promise<void> {
    this.#phase = "deciding";
    await this.#charge.release({ reason, by: "server", worked: true });
    this.#refuse(error);
  }

  /** Discards the handler's answer and gives ours. */
  #refuse(error: GatewayError): void {
    if (this.#phase === "dismissed" || this.#phase === "done") return;
    this.#restore();
    for (const name of this.#res.getHeaderNames()) {
      if (!this.#earlierHeaders.has(name)) this.#res.removeHeader(name);
    }
    this.#res.statusMessage = "";
    if (!this.#clientGone) this.#options.answer(error);
    this.#dismiss();
    interceptResponse(this.#res, this);
  }

  #flush(): void {
    clearTimeout(this.#deadline);
    const res = this.#res;
    this.#restore();
    for (const [name, value] of Object.entries(this.#proof)) res.setHeader(name, value);
    res.setHeader("Cache-Control", "private, no-store");
    const held = Buffer.concat(this.#held, this.#heldBytes);
    this.#held = [];
    const callbacks = this.#callbacks.splice(0);
    const done = (): void => {
      for (const callback of callbacks) callback();
    };
    if (this.#ended) {
      // Without bytes, a length that the handler declared (HEAD, 304) stays as it is.
      if (held.length === 0) res.end(done);
      else res.end(held, done);
      return;
    }
    if (held.length === 0) res.flushHeaders();
    const flowing = held.length === 0 || res.write(held, done);
    if (this.#owesDrain && flowing) process.nextTick(() => res.emit("drain"));
    this.#watch();
  }

  /** Once it flows: copies what passes, and notices a handler that breaks it off. */
  #watch(): void {
    const res = this.#res;
    const { write, end, destroy } = res;
    const copy = (chunk: unknown, encoding: unknown): void => {
      if (this.#copy.overflowed) return;
      if (typeof chunk === "string") this.#copy.add(Buffer.from(chunk, encodingOf(encoding)));
      else if (chunk instanceof Uint8Array) this.#copy.add(Buffer.from(chunk));
    };
    Object.assign(res, {
      write: (...args: readonly unknown[]) => {
        copy(args[0], args[1]);
        return Reflect.apply(write, res, args);
      },
      end: (...args: readonly unknown[]) => {
        copy(args[0], args[1]);
        return Reflect.apply(end, res, args);
      },
      destroy: (...args: readonly unknown[]) => {
        this.#localBreak = true;
        return Reflect.apply(destroy, res, args);
      },
    });
  }

  #onFinish(): void {
    if (this.#phase === "open") {
      void this.#charge.capture({ delivered: true, response: this.#copy.take(this.#res) });
    }
    if (this.#phase !== "dismissed") this.#phase = "done";
    clearTimeout(this.#deadline);
  }

  #onClose(): void {
    if (this.#phase === "done" || this.#res.writableFinished) return;
    this.#clientGone = true;
    const byUs = this.#localBreak || closedByUs(this.#req);
    if (this.#phase === "open") {
      this.#breakOff(byUs);
    } else if (this.#phase === "waiting" && this.#charge.settling) {
      this.#detach();
    } else if (this.#phase === "waiting") {
      void this.#charge.release({ reason: "client_left", by: byUs ? "server" : "client", worked: true });
      this.#dismiss();
    } else if (this.#phase === "free") {
      this.#dismiss();
    }
  }

  /** Broken after the first byte: the client's doing is delivery; ours or the upstream's is owed, unless nobody was reading. */
  #breakOff(byUs: boolean): void {
    if (byUs && !this.#res.writableNeedDrain) {
      void this.#charge.release({ reason: "broken_mid_stream", by: "server", worked: true });
    } else {
      void this.#charge.capture({ delivered: true, response: undefined });
    }
    this.#phase = "done";
    clearTimeout(this.#deadline);
    this.#abort.abort();
  }

  #detach(): void {
    this.#phase = "detached";
    this.#acknowledgeAll();
    if (this.#ended || this.#localBreak || this.#copy.overflowed) this.#park();
    else setTimeout(() => this.#park(), DETACHED_MS).unref();
  }

  /** Settled and not delivered: it waits in the ledger for its retry, with the answer if that is whole. */
  #park(): void {
    if (this.#phase !== "detached") return;
    if (this.#ended && this.#res.statusCode >= 400) {
      void this.#charge.release({ reason: "handler_failed", by: "server", worked: true });
    } else {
      const response = this.#ended ? this.#copy.take(this.#res) : undefined;
      void this.#charge.capture({ delivered: false, response });
    }
    this.#dismiss();
  }

  /** From here on the handler talks to nobody. */
  #dismiss(): void {
    this.#phase = "dismissed";
    clearTimeout(this.#deadline);
    this.#acknowledgeAll();
    this.#abort.abort();
  }

  #acknowledgeAll(): void {
    for (const callback of this.#callbacks.splice(0)) process.nextTick(callback);
    if (this.#owesDrain) process.nextTick(() => this.#res.emit("drain"));
    this.#owesDrain = false;
    this.#held = [];
  }
}

function acknowledge(done: () => void): true {
  process.nextTick(done);
  return true;
}

function encodingOf(encoding: unknown): BufferEncoding {
  return typeof encoding === "string" && Buffer.isEncoding(encoding) ? encoding : "utf8";
}
