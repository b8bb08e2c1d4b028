import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Fault, faults, type Operation } from "./facilitator-faults.ts";

export { type Fault, faults };

export interface LoggedCall {
  readonly operation: Operation;
  /** Parsed; undefined for GET. */
  readonly body: unknown;
  readonly headers: IncomingMessage["headers"];
  readonly fault: Fault["kind"] | "hold" | "late" | undefined;
  /** What the real facilitator answered, once it has. */
  answer: Answer | undefined;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A call that waits. */
export interface Hold {
  /** Resolves when the call has arrived. */
  readonly arrived: Promise<LoggedCall>;
  /** Lets it through to the real facilitator; may be called before it arrives. */
  release(): void;
}

/** A call that was answered wrongly and reaches the real facilitator later. */
export interface LateLanding {
  readonly arrived: Promise<LoggedCall>;
  /** Forwards the call now; resolves with the real answer, which nobody else sees. Call it after `arrived`. */
  release(): Promise<Answer>;
}

export interface FaultyFacilitator {
  readonly url: string;
  /** Calls that arrived here, faults included. */
  readonly calls: Readonly<Record<Operation, number>>;
  /** Calls that the real facilitator answered. */
  readonly handled: Readonly<Record<Operation, number>>;
  readonly log: readonly LoggedCall[];
  /** The next `times` calls of `operation` meet this fault. Faults queue up; without one a call passes through. */
  fail(operation: Operation, fault: Fault, times?: number): void;
  hold(operation: Operation): Hold;
  /** The next call meets `answer` (e.g. `faults.reason(...)`, `faults.reset`) and is forwarded only on `release`. */
  lateLanding(operation: Operation, answer: Fault): LateLanding;
  /** The next call of `operation` to arrive. */
  nextCall(operation: Operation): Promise<LoggedCall>;
  /** Forgets the queued faults. */
  clear(): void;
  /** Closes the listener and every connection: from now on connections are refused. */
  down(): Promise<void>;
  /** Listens again, on the same port. */
  up(): Promise<void>;
  close(): Promise<void>;
}

type Step =
  | { readonly fault: Fault }
  | { readonly gate: Promise<void>; readonly arrive: (call: LoggedCall) => void }
  | {
      readonly late: Fault;
      readonly arrive: (call: LoggedCall, forward: () => Promise<Answer>) => void;
    };

const OPERATIONS: readonly Operation[] = ["verify", "settle", "supported"];

/** A reverse proxy before a real facilitator that fails as told, call by call. */
export async function startFaultyFacilitator(targetUrl: string): Promise<FaultyFacilitator> {
  const calls = { verify: 0, settle: 0, supported: 0 };
  const handled = { verify: 0, settle: 0, supported: 0 };
  const log: LoggedCall[] = [];
  const queues: Record<Operation, Step[]> = { verify: [], settle: [], supported: [] };
  const waiting: { operation: Operation; resolve: (call: LoggedCall) => void }[] = [];
  const closing = new AbortController();
  const server = createServer((req, res) => {
    handle(req, res).catch(() => res.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const operation = OPERATIONS.find((name) => req.url?.endsWith(`/${name}`));
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (operation === undefined) {
      res.writeHead(404).end();
      return;
    }
    calls[operation] += 1;
    const step = queues[operation].shift();
    const call: LoggedCall = {
      operation,
      body: body.length === 0 ? undefined : JSON.parse(body.toString("utf8")),
      headers: req.headers,
      fault: stepName(step),
      answer: undefined,
    };
    log.push(call);
    const forward = () => forwardTo(operation, call, body);
    for (const waiter of waiting.filter((each) => each.operation === operation)) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.resolve(call);
    }
    if (step === undefined) {
      write(res, await forward());
    } else if ("gate" in step) {
      step.arrive(call);
      await step.gate;
      write(res, await forward());
    } else if ("late" in step) {
      step.arrive(call, forward);
      await commit(step.late, operation, res, forward);
    } else {
      await commit(step.fault, operation, res, forward);
    }
  }

  async function commit(
    fault: Fault,
    operation: Operation,
    res: ServerResponse,
    forward: () => Promise<Answer>,
  ): Promise<void> {
    switch (fault.kind) {
      case "reset":
        res.socket?.resetAndDestroy();
        return;
      case "answer":
        res.writeHead(fault.status, { "content-type": fault.type }).end(fault.body);
        return;
      case "truncated":
        res.writeHead(200, { "content-type": "application/json", "content-length": "500" });
        res.write('{"success":true,', () => res.destroy());
        return;
      case "hang":
        return;
      case "slow":
        await new Promise((resolve) => setTimeout(resolve, fault.ms));
        write(res, await forward());
        return;
      case "slow_answer": {
        const answer = await forward();
        await new Promise((resolve) => setTimeout(resolve, fault.ms));
        write(res, answer);
        return;
      }
      case "twice":
        await forward();
        write(res, await forward());
        return;
      case "reason":
        write(res, refusal(operation, fault.reason, fault.transaction));
        return;
      case "drop_after":
        await forward();
        res.destroy();
        return;
      case "then_down": {
        const answer = await forward();
        server.close();
        server.closeIdleConnections();
        res.setHeader("connection", "close");
        write(res, answer);
      }
    }
  }

  async function forwardTo(operation: Operation, call: LoggedCall, body: Buffer): Promise<Answer> {
    const response = await fetch(`${targetUrl}/${operation}`, {
      ...(operation === "supported" ? {} : { method: "POST", body: new Uint8Array(body) }),
      headers: { "content-type": "application/json" },
      // Of its own: fetch leaves its listener on a signal until the request is collected.
      signal: AbortSignal.any([closing.signal]),
    });
    call.answer = { status: response.status, body: await response.text() };
    handled[operation] += 1;
    return call.answer;
  }

  async function down(): Promise<void> {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    handled,
    log,
    fail: (operation, fault, times = 1) => {
      for (let i = 0; i < times; i += 1) queues[operation].push({ fault });
    },
    hold: (operation) => {
      const gate = deferred<void>();
      const arrival = deferred<LoggedCall>();
      queues[operation].push({ gate: gate.promise, arrive: arrival.resolve });
      return { arrived: arrival.promise, release: () => gate.resolve() };
    },
    lateLanding: (operation, answer) => {
      const arrival = deferred<{ call: LoggedCall; forward: () => Promise<Answer> }>();
      queues[operation].push({ late: answer, arrive: (call, forward) => arrival.resolve({ call, forward }) });
      return {
        arrived: arrival.promise.then(({ call }) => call),
        release: async () => (await arrival.promise).forward(),
      };
    },
    nextCall: (operation) => {
      const arrival = deferred<LoggedCall>();
      waiting.push({ operation, resolve: arrival.resolve });
      return arrival.promise;
    },
    clear: () => {
      for (const operation of OPERATIONS) queues[operation] = [];
    },
    down,
    up: async () => {
      if (server.listening) return;
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    close: async () => {
      closing.abort();
      await down();
      server.closeAllConnections();
    },
  };
}

function stepName(step: Step | undefined): LoggedCall["fault"] {
  if (step === undefined) return undefined;
  if ("gate" in step) return "hold";
  return "late" in step ? "late" : step.fault.kind;
}

function refusal(operation: Operation, reason: string, transaction: string): Answer {
  const body =
    operation === "verify"
      ? { isValid: false, invalidReason: reason, payer: "" }
      : { success: false, errorReason: reason, transaction, network: "", payer: "" };
  return { status: 200, body: JSON.stringify(body) };
}

function write(res: ServerResponse, answer: Answer): void {
  res.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
