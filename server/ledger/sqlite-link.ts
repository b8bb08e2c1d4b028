import type { Worker } from "node:worker_threads";
import { startThread } from "../thread.ts";
import { LedgerFault } from "./ledger.ts";
import type {
  Answer,
  Call,
  FromWorker,
  Method,
  Results,
  ToWorker,
  WorkerOptions,
} from "./sqlite-messages.ts";

export interface LinkOptions extends Omit<WorkerOptions, "serving"> {
  readonly serving: Serving | undefined;
  /** Overrides the worker's clock (tests only). */
  readonly clock: (() => number) | undefined;
  /** Called once, when the worker is lost or a COMMIT failed: what is stored is unknown and the process must stop. */
  readonly onFatal: (error: Error) => void;
}

/** Of who serves calls from a ledger. */
export interface Serving {
  /** Another gateway does so as well: it is working on some of what this one will find. */
  readonly onShared: () => void;
}

/**
 * Starts the worker thread that owns the database and waits until it has opened it; rejects with Error if it refuses to.
 */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { path, network, serving } = options;
  const workerData: WorkerOptions = { path, network, serving: serving !== undefined };
  const worker = startThread(new URL("./sqlite-worker", import.meta.url), { workerData });
  const exited = new Promise<number>((resolve) => {
    worker.once("exit", resolve);
  });
  if (!(await opened(worker))) serving?.onShared();
  return new Link(worker, exited, options);
}

/** Whether nobody else serves from it. */
function opened(worker: Worker): Promise<boolean> {
  return new Promise((resolve, reject) => {
    worker.once("message", (message: FromWorker) => {
      if (message.kind === "opened") resolve(message.alone);
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

/** One that the worker carries out, and one that it finds when it is done. */
const MAX_UNDER_WAY = 2;

interface Batch {
  readonly calls: Call[];
  readonly times: number[];
  readonly pending: Pending[];
}

/**
 * The way to the worker. Group commit: calls of one tick, and those that arrive while enough batches are under way, travel
 * in one message and are committed together. The worker goes on with the next while the log is synced for those that must be durable.
 */
export class Link {
  readonly #worker: Worker;
  readonly #exited: Promise<number>;
  readonly #clock: (() => number) | undefined;
  readonly #onFatal: (error: Error) => void;
  #waiting = emptyBatch();
  /** The batches at the worker, oldest first. */
  readonly #underWay: Pending[][] = [];
  /** Those that are committed and have calls that must be durable, oldest first; an answered call leaves undefined. */
  readonly #unsynced: (Pending | undefined)[][] = [];
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
      this.#schedule();
    });
  }

  /** Refuses further calls, lets those under way finish, and resolves when the database is closed. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#schedule();
    await this.#exited;
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
      this.#underWay.push(pending);
      this.#send({ kind: "batch", calls, times });
    } else if (this.#closing && this.#isIdle()) {
      this.#send({ kind: "close" });
    }
  }

  #isIdle(): boolean {
    return this.#waiting.calls.length + this.#underWay.length + this.#unsynced.length === 0;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    if (message.kind === "synced") {
      for (const answers of message.answers) settle(this.#unsynced.shift() ?? [], answers);
    } else if (message.kind === "committed") {
      const batch = this.#underWay.shift() ?? [];
      settle(batch, message.answers);
      if (message.answers.length < batch.length) this.#unsynced.push(batch);
    } else if (message.kind === "failed") {
      const fault = new LedgerFault(`The ledger did not commit: ${message.message}`);
      // The worker carries out nothing more: whatever waits fails as well.
      if (message.fatal) this.#die(fault);
      else for (const pending of this.#underWay.shift() ?? []) pending.reject(fault);
    }
    if (this.#waiting.calls.length > 0 || this.#closing) this.#schedule();
  }

  #pending(): (Pending | undefined)[] {
    return [...this.#unsynced.flat(), ...this.#underWay.flat(), ...this.#waiting.pending];
  }

  #ended(code: number): void {
    if (!this.#closing || !this.#isIdle())
      this.#die(new LedgerFault(`The ledger's worker ended with code ${code}.`));
  }

  #die(fault: LedgerFault): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    for (const pending of this.#pending()) pending?.reject(fault);
    this.#unsynced.length = 0;
    this.#underWay.length = 0;
    this.#waiting = emptyBatch();
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
  return { calls: [], times: [], pending: [] };
}
