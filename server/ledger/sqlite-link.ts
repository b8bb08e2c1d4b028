import type { Worker } from "node:worker_threads";
import { startThread } from "../thread.ts";
import { LedgerFault } from "./ledger.ts";
import {
  type Answer,
  type Call,
  type FromWorker,
  isUnhurried,
  type Method,
  type Results,
  type ToWorker,
  type WorkerOptions,
} from "./sqlite-messages.ts";

export interface LinkOptions extends WorkerOptions {
  /** Overrides the worker's clock (tests only). */
  readonly clock: (() => number) | undefined;
  /** Called once, when the worker is lost or a COMMIT failed: what is stored is unknown and the process must stop. */
  readonly onFatal: (error: Error) => void;
}

/**
 * Starts the worker thread that owns the database and waits until it has opened it; rejects with Error if it refuses to.
 */
export async function openLink(options: LinkOptions): Promise<Link> {
  const workerData: WorkerOptions = { path: options.path, network: options.network };
  const worker = startThread(new URL("./sqlite-worker", import.meta.url), { workerData });
  const exited = new Promise<number>((resolve) => {
    worker.once("exit", resolve);
  });
  await opened(worker);
  return new Link(worker, exited, options);
}

function opened(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once("message", (message: FromWorker) => {
      if (message.kind === "opened") resolve();
      else reject(new Error(message.kind === "refused" ? message.message : `Unexpected ${message.kind}.`));
    });
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`The ledger's worker ended with code ${code}.`)));
  });
}

interface Pending {
  /** A method, not a property: the worker answers each call with the result of that call's method. */
  resolve(value: unknown): void;
  reject(fault: LedgerFault): void;
}

/** One that the worker commits, and one that it finds when it is done. */
const MAX_UNDER_WAY = 2;
/** What nobody waits for goes after so many ms at the latest. */
const UNHURRIED_MS = 2;

interface Batch {
  readonly calls: Call[];
  readonly times: number[];
  readonly pending: Pending[];
  /** Has a call that does not wait for company. */
  goes: boolean;
}

/**
 * The way to the worker. Group commit: calls of one tick, and those that arrive while enough batches are under way, travel
 * in one message and are committed together. The worker answers batches in the order in which they were sent.
 *
 * A call that nobody waits for goes with the next that somebody does, before it: so it is known to whoever comes behind it, and its
 * fsync comes after they were answered.
 */
export class Link {
  readonly #worker: Worker;
  readonly #exited: Promise<number>;
  readonly #clock: (() => number) | undefined;
  readonly #onFatal: (error: Error) => void;
  #waiting = emptyBatch();
  /** For what waits alone. */
  #goesSoon: NodeJS.Timeout | undefined;
  /** The batches at the worker, oldest first; an answered call leaves undefined. */
  readonly #underWay: (Pending | undefined)[][] = [];
  #scheduled = false;
  #closing = false;
  #fault: LedgerFault | undefined;

  constructor(worker: Worker, exited: Promise<number>, options: LinkOptions) {
    this.#worker = worker;
    this.#exited = exited;
    this.#clock = options.clock;
    this.#onFatal = options.onFatal;
    worker.on("message", (message: FromWorker) => this.#receive(message));
    worker.on("error", (cause) => this.#die(new LedgerFault("The ledger's worker failed.", { cause })));
    worker.on("messageerror", (cause) =>
      this.#die(new LedgerFault("The ledger's worker is unreadable.", { cause })),
    );
    worker.on("exit", (code) => this.#ended(code));
  }

  /** Rejects with {@link LedgerFault} if the call failed, or if the worker is gone or closed. */
  call<M extends Method>(call: Call & { readonly method: M }): Promise<Results[M]> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    if (this.#closing) return Promise.reject(new LedgerFault("The ledger is closed."));
    return new Promise((resolve, reject) => {
      this.#waiting.calls.push(call);
      this.#waiting.pending.push({ resolve, reject });
      if (this.#clock !== undefined) this.#waiting.times.push(this.#clock());
      if (isUnhurried(call)) this.#goesSoon ??= setTimeout(() => this.#go(), UNHURRIED_MS);
      else this.#go();
    });
  }

  /** Refuses further calls, lets those under way finish, and resolves when the database is closed. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#schedule();
    await this.#exited;
  }

  #go(): void {
    this.#waiting.goes = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay.length >= MAX_UNDER_WAY || this.#fault !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#fault !== undefined) return;
    const { calls, times, pending } = this.#waiting;
    if (calls.length > 0) {
      this.#waiting = emptyBatch();
      clearTimeout(this.#goesSoon);
      this.#goesSoon = undefined;
      this.#underWay.push(pending);
      this.#send({ kind: "batch", calls, times });
    } else if (this.#closing && this.#underWay.length === 0) {
      this.#send({ kind: "close" });
    }
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    const oldest = this.#underWay[0];
    if (oldest === undefined) return;
    if (message.kind === "early" || message.kind === "committed") settle(oldest, message.answers);
    if (message.kind === "early") return;
    if (message.kind === "failed") {
      const fault = new LedgerFault(`The ledger did not commit: ${message.message}`);
      // The worker carries out nothing more: the batch behind it fails as well.
      if (message.fatal) this.#die(fault);
      else for (const pending of oldest) pending?.reject(fault);
    }
    this.#underWay.shift();
    if (this.#waiting.goes || this.#closing) this.#schedule();
  }

  #ended(code: number): void {
    const idle = this.#underWay.length === 0 && this.#waiting.calls.length === 0;
    if (!this.#closing || !idle) this.#die(new LedgerFault(`The ledger's worker ended with code ${code}.`));
  }

  #die(fault: LedgerFault): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    for (const pending of [...this.#underWay.flat(), ...this.#waiting.pending]) pending?.reject(fault);
    this.#underWay.length = 0;
    this.#waiting = emptyBatch();
    clearTimeout(this.#goesSoon);
    void this.#worker.terminate();
    this.#onFatal(fault);
  }
}

function settle(batch: (Pending | undefined)[], answers: readonly Answer[]): void {
  for (const [index, outcome, value] of answers) {
    const pending = batch[index];
    batch[index] = undefined;
    if (outcome === "value") pending?.resolve(value);
    else pending?.reject(new LedgerFault(value));
  }
}

function emptyBatch(): Batch {
  return { calls: [], times: [], pending: [], goes: false };
}
