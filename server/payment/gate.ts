import type { IncomingMessage, ServerResponse } from "node:http";
import { Cancellation, type CancelSignal } from "../../facilitator-client/cancellation.ts";
import { GatewayError } from "../errors.ts";
import type { Placed } from "../roster.ts";
import { AnswerBody, type BodyOptions } from "./answer-body.ts";
import { AnswerFlow } from "./answer-flow.ts";
import { AnswerHead } from "./answer-head.ts";
import type { Charge, StoredResponse } from "./charge.ts";
import { acknowledge, HeldAnswer } from "./held-answer.ts";
import { endSoon } from "./last-step.ts";
import { byteLength, forbidStoring, toBytes } from "./response-head.ts";
import { type Done, type Interception, interceptResponse, type ResponseSink } from "./response-methods.ts";
import { closedByUs, holdConnection, lingerOn } from "./who-broke-it.ts";

export interface GateOptions extends BodyOptions {
  /** Bytes that may wait before the gate must open. */
  readonly gateBytes: number;
  readonly now: () => number;
  /** Writes an error in the handler's place, by the response's own methods. */
  readonly answer: (error: GatewayError) => void;
  /** Called once: the charge has ended, or its end is under way, and the gate holds nothing more. */
  readonly over: () => void;
}

/** A settled answer whose client left is waited for this long; then the payment is parked without it. */
const DETACHED_MS = 120_000;
/** What was written before a call expired may take this long to be read. */
const LAST_BYTES_MS = 5_000;
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
export class Gate implements ResponseSink, Placed {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #charge: Charge;
  readonly #options: GateOptions;
  readonly #unwanted = new Cancellation();
  readonly #response: Interception;
  readonly #releaseConnection: () => void;
  readonly #held = new HeldAnswer();
  readonly #head: AnswerHead;
  readonly #body: AnswerBody;
  readonly #flow: AnswerFlow;
  #deadline: NodeJS.Timeout | undefined;
  #phase: Phase = "waiting";
  #proof: Readonly<Record<string, string>> = {};
  #ended = false;
  /** The handler gave its response up; `brokenByUs`: while the client was there, as far as we could know. */
  #localBreak = false;
  #brokenByUs = false;
  /** Of a stream: it has an end of its own, so one that ends before it is none. */
  #endsItself = false;
  #clientGone = false;
  /** The server that stops broke the answer off. No client brings that about by reading slowly. */
  #stopped = false;
  /** The handler, or the server that stops, gave up the connection while an answer was on its way. */
  #givenUp = false;

  constructor(req: IncomingMessage, res: ServerResponse, charge: Charge, options: GateOptions) {
    this.#req = req;
    this.#res = res;
    this.#charge = charge;
    this.#options = options;
    this.#head = new AnswerHead(res);
    this.#body = new AnswerBody(res, this.#head, options);
    res.once("close", () => this.#onClose());
    res.once("finish", () => this.#onFinish());
    this.#flow = new AnswerFlow(req, res, () => this.#park());
    if (Number.isFinite(charge.settleBy)) {
      const wait = Math.max(0, charge.settleBy - options.now());
      this.#deadline = setTimeout(() => this.#onSettleBy(), wait).unref();
    }
    this.#response = interceptResponse(res, this);
    this.#releaseConnection = holdConnection(req, () => this.#keepConnection());
  }

  /** See {@link Placed}. */
  place = 0;

  /** Aborted when the answer is no longer wanted: cancel the upstream. */
  get signal(): CancelSignal {
    return this.#unwanted;
  }

  get headersSent(): boolean {
    return this.#phase === "dismissed" ? false : this.#head.done;
  }

  get writableEnded(): boolean {
    return this.#ended;
  }

  get writableNeedDrain(): boolean {
    return this.#held.owesDrain;
  }

  get dismissed(): boolean {
    return this.#phase === "dismissed";
  }

  /**
   * Settles now without opening: at the settle-by deadline, or because the answer itself names the transaction.
   * True: settled, go on. False: the caller has been answered; write nothing.
   */
  async settle(): Promise<boolean> {
    if (this.#phase === "dismissed" || this.#phase === "free") return false;
    const result = await this.#charge.settle(() => this.#isGone);
    if (result.outcome === "settled") {
      this.#proof = result.headers;
      return true;
    }
    this.#refuse(result.error);
    return false;
  }

  /** What streams here has an end of its own: cut by us before it, it is broken off like any other answer, and costs nothing. */
  endsItself(): void {
    this.#endsItself = true;
  }

  /** The handler threw: before its head this is the answer, and after it the answer is broken off. */
  abandon(error: GatewayError): void {
    if (this.#phase === "waiting" && !this.#head.done) void this.#fail(error, "handler_failed");
    else if (!this.#ended) this.#res.destroy();
  }

  /** What is relayed broke off: while none of it has left, this is the answer. */
  breakOff(error: GatewayError): void {
    if (this.#phase === "waiting") void this.#fail(error, BROKEN);
    else if (!this.#ended) this.#res.destroy();
  }

  /** The server is stopping: an endless stream is ended cleanly, what has not begun is refused uncharged. */
  cutOff(): void {
    if (this.#phase === "waiting" && !this.#charge.settling) {
      void this.#fail(new GatewayError("shutting_down", { retryAfterSeconds: 2 }), "shutting_down");
    } else if (this.#phase === "open" || this.#phase === "free") {
      this.#stopped = true;
      this.#cutStream(!this.#endsItself);
    } else if (this.#phase === "detached") {
      this.#park();
    }
  }

  /**
   * The call has run for as long as any may. What has not begun is refused uncharged; what has begun costs what it came to, and
   * ends here, also for a client that does not read.
   */
  expire(): void {
    if (this.#phase === "waiting" && !this.#charge.settling) {
      void this.#fail(new GatewayError("upstream_timeout"), "time_limit");
      return;
    }
    if (this.#phase === "open") {
      void this.#charge.capture({ delivered: true, response: undefined });
      setTimeout(() => this.#res.destroy(), LAST_BYTES_MS).unref();
      this.#cutStream(true);
      return;
    }
    this.cutOff();
  }

  /**
   * Charges now where the charge wants that before the last byte of an answer that is open already. False: it could not be
   * recorded, and the answer is broken off.
   */
  async chargeBeforeEnd(): Promise<boolean> {
    if (this.#phase !== "open" || !this.#charge.capturesFirst) return true;
    if (await this.#charge.capture({ delivered: true, response: undefined, first: true })) return true;
    this.#localBreak = true;
    this.#res.destroy();
    return false;
  }

  /** An endless stream may end anywhere. Any other answer that is cut is broken, by us; neither is a copy to keep. */
  #cutStream(mayEnd: boolean): void {
    this.#body.discard();
    if (mayEnd && this.#body.isStream && !this.#res.hasHeader("content-length")) this.#res.end();
    else this.#res.destroy();
    this.#unwanted.abort();
  }

  head(): void {
    this.#head.take();
  }

  write(chunk: Buffer, done: Done): boolean {
    if (this.#ended) return acknowledge(() => done(new Error("write after end")));
    this.#hold(chunk);
    if (this.#phase === "detached") {
      if (this.#body.overflowed) this.#park();
      return acknowledge(done);
    }
    this.#evaluate();
    if (this.#phase === "waiting") return acknowledge(done);
    this.#held.await(done, true);
    return false;
  }

  end(chunk: Buffer | undefined, done: Done): void {
    if (this.#ended) return void acknowledge(done);
    if (chunk !== undefined) this.#hold(chunk);
    this.#ended = true;
    this.#held.await(done, false);
    if (this.#phase === "detached") this.#park();
    else this.#evaluate();
  }

  flushHeaders(): void {
    if (this.#phase !== "waiting") return;
    if (this.#head.isError) void this.#passUncharged("handler_failed");
    else void this.#open();
  }

  destroy(): boolean {
    this.#localBreak = true;
    // Asked before the connection has it: an error that a handler gives up with may look like the client's.
    this.#brokenByUs ||= closedByUs(this.#req);
    if (this.#phase === "waiting") void this.#fail(new GatewayError("upstream_failed"), BROKEN);
    if (this.#phase === "detached") this.#park();
    return this.#phase === "deciding" || this.#phase === "dismissed";
  }

  passed(chunk: unknown, encoding: unknown, flowing: boolean): void {
    this.#flow.sent(flowing);
    this.#flow.written();
    if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) return;
    this.#body.passed(byteLength(chunk, encoding), () => toBytes(chunk, encoding));
  }

  /** Until the first byte a connection that the handler gives up carries our answer, and closes after it. */
  #keepConnection(): boolean {
    if (this.#phase !== "waiting" && this.#phase !== "deciding") return false;
    this.#givenUp = true;
    this.#res.shouldKeepAlive = false;
    return this.destroy();
  }

  #hold(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#flow.written();
    this.#held.add(chunk);
    this.#body.hold(chunk);
  }

  /** Nothing reaches the client any more. Its leaving is heard before the connection is closed, and what is written meanwhile is lost. */
  get #isGone(): boolean {
    return this.#res.closed || !this.#req.socket.writable;
  }

  /** The one place that decides whether what is held may go: as it is, for money, or not yet. */
  #evaluate(): void {
    if (this.#phase !== "waiting") return;
    const failure = this.#body.failure(this.#ended);
    if (failure !== undefined) void this.#passUncharged(failure);
    else if (this.#body.sawEvent) void this.#open();
    else if (this.#ended || this.#held.bytes > this.#options.gateBytes) void this.#open();
  }

  async #open(): Promise<void> {
    this.#phase = "deciding";
    const result = await this.#charge.settle(() => this.#isGone, this.#wholeAnswer());
    if (result.outcome === "failed") {
      this.#refuse(result.error);
      return;
    }
    this.#proof = result.headers;
    const charged = this.#isGone || !this.#charge.capturesFirst || (await this.#captureWhole());
    if (!charged) this.#refuse(new GatewayError("ledger_unavailable", { retryAfterSeconds: 2 }));
    else if (this.#isGone) this.#detach();
    else if (this.#localBreak && !this.#ended) {
      await this.#fail(new GatewayError("upstream_failed"), BROKEN);
    } else {
      this.#phase = "open";
      this.#flush();
    }
  }

  /** An answer that is whole is paid for before any of it leaves. */
  async #captureWhole(): Promise<boolean> {
    if (!this.#ended) return true;
    return this.#charge.capture({ delivered: true, response: this.#wholeAnswer(), first: true });
  }

  /** What a retry is given; undefined while the answer is not whole. */
  #wholeAnswer(): StoredResponse | undefined {
    if (!this.#ended) return undefined;
    this.#body.keepHead();
    return this.#body.whole();
  }

  /** The handler failed: its answer goes out as it is. Unsettled money never moves; settled money is owed. */
  async #passUncharged(reason: string): Promise<void> {
    this.#phase = "deciding";
    clearTimeout(this.#deadline);
    const settled = this.#charge.settling ? await this.#charge.settle(() => false) : undefined;
    if (settled?.outcome === "settled") this.#proof = settled.headers;
    await endSoon(this.#charge.release({ reason, by: "server", worked: true }));
    // A settlement under way may have failed meanwhile, and its error was the answer.
    if (this.#phase !== "deciding") return;
    if (this.#clientGone) {
      this.#dismiss();
      return;
    }
    this.#phase = "free";
    this.#flush();
    if (this.#localBreak && !this.#ended) this.#res.destroy();
  }

  /** Before a byte was sent: a clean error instead of a dead connection. */
  async #fail(error: GatewayError, reason: string): Promise<void> {
    this.#phase = "deciding";
    clearTimeout(this.#deadline);
    // The record says what the caller is told, not what the handler began to.
    this.#res.statusCode = error.status;
    await endSoon(this.#charge.release({ reason, by: "server", worked: true }));
    this.#refuse(error);
  }

  /** Discards the handler's answer and gives ours. */
  #refuse(error: GatewayError): void {
    if (this.#phase === "dismissed" || this.#phase === "done") return;
    const res = this.#res;
    this.#releaseConnection();
    this.#response.bypass(() => {
      if (this.#clientGone) return;
      // What a middleware before us ends later (one that saves a session, or compresses) has been answered all the same.
      if (res.headersSent || !this.#answer(error)) res.destroy();
    });
    this.#dismiss();
  }

  /** False: it could not be. */
  #answer(error: GatewayError): boolean {
    this.#head.reset();
    try {
      this.#options.answer(error);
      return true;
    } catch {
      // The middleware before us that failed on the handler's answer fails on ours.
      return false;
    }
  }

  /** Sends what was held. A middleware before us may throw when it leaves: then it is as if the handler had failed. */
  #flush(): void {
    clearTimeout(this.#deadline);
    this.#body.keepHead();
    try {
      this.#response.bypass(() => this.#send(this.#res));
    } catch (cause) {
      void this.#fail(new GatewayError("internal_error", { cause }), "answer_not_sent");
      return;
    }
    this.#response.letPass();
    if (this.#givenUp) lingerOn(this.#req);
  }

  #send(res: ServerResponse): void {
    for (const [name, value] of Object.entries(this.#proof)) res.setHeader(name, value);
    forbidStoring(res);
    this.#flow.sent(this.#held.send(res, this.#ended));
  }

  /** Also when the line broke after the handler had ended: then the retry finds the whole answer. */
  #onFinish(): void {
    if (this.#phase === "open" && this.#body.isShort) {
      void this.#charge.release({ reason: "wrong_content_length", by: "server", worked: true });
      // Its client would wait for the rest.
      this.#req.socket.destroy();
    } else if (this.#phase === "open") {
      void this.#charge.capture({ delivered: true, response: this.#body.whole() });
    }
    if (this.#phase !== "dismissed") this.#finish("done");
    this.#releaseConnection();
  }

  /** Nothing is worth settling for where nothing more comes. */
  #onSettleBy(): void {
    if (this.#phase === "waiting" && this.#flow.brokeOff) {
      void this.#fail(new GatewayError("upstream_failed"), "source_broke_off");
    } else void this.settle();
  }

  #onClose(): void {
    if (this.#phase === "done" || this.#res.writableFinished) return;
    this.#clientGone = true;
    this.#releaseConnection();
    const byUs = this.#brokenByUs || this.#flow.brokeOff || closedByUs(this.#req);
    if (this.#phase !== "open" && this.#charge.settling) this.#charge.orphan();
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

  /** Broken after the first byte: the client's doing is delivery; ours or the upstream's is owed, unless nobody was reading, or not for long. */
  #breakOff(byUs: boolean): void {
    const byClient = this.#stopped ? this.#flow.heldUpLong : this.#flow.heldUp;
    if (byUs && !byClient) {
      void this.#charge.release({ reason: "broken_mid_stream", by: "server", worked: true });
    } else {
      void this.#charge.capture({ delivered: true, response: undefined });
    }
    this.#finish("done");
    this.#unwanted.abort();
  }

  #detach(): void {
    this.#phase = "detached";
    this.#held.drop(this.#res);
    clearTimeout(this.#deadline);
    if (this.#ended || this.#localBreak || this.#flow.unpiped || this.#body.overflowed) this.#park();
    else this.#deadline = setTimeout(() => this.#park(), DETACHED_MS).unref();
  }

  /** Settled and not delivered: it waits in the ledger for its retry, with the answer if that is whole. */
  #park(): void {
    if (this.#phase !== "detached") return;
    const failure = this.#ended ? this.#body.failure(true) : undefined;
    if (failure !== undefined) {
      void this.#charge.release({ reason: failure, by: "server", worked: true });
    } else {
      void this.#charge.capture({ delivered: false, response: this.#wholeAnswer() });
    }
    this.#dismiss();
  }

  /** From here on the handler talks to nobody. */
  #dismiss(): void {
    this.#finish("dismissed");
    this.#held.drop(this.#res);
    this.#unwanted.abort();
  }

  #finish(phase: "dismissed" | "done"): void {
    this.#phase = phase;
    clearTimeout(this.#deadline);
    this.#options.over();
  }
}
