import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  answers,
  type Behaviour,
  breakOff,
  brokenByUs,
  chunk,
  closing,
  event,
  SECRET_ERROR,
  SSE,
  type UpstreamCall,
  type Usage,
} from "./model-upstream-answers.ts";
import { openBill } from "./model-upstream-billing.ts";

export { answers, type Behaviour, type UpstreamCall } from "./model-upstream-answers.ts";

/** A call that waits before its response head. */
export interface HeldCall {
  readonly arrived: Promise<UpstreamCall>;
  /** Answers it; may be called before it arrives. */
  release(behaviour?: Behaviour): void;
}

/** A stream that the test writes. Each method waits for the call, then resolves when the bytes were handed to the socket. */
export interface ScriptedStream {
  readonly arrived: Promise<UpstreamCall>;
  /** One chunk that adds this text. */
  delta(text: string): Promise<void>;
  /** One event with this JSON. */
  data(value: unknown): Promise<void>;
  raw(bytes: string | Uint8Array): Promise<void>;
  /** `{"error": …}` inside the 200. */
  errorFrame(): Promise<void>;
  /** The model's reason to stop, the usage if there is one, `[DONE]`, the end. */
  finish(usage?: Usage): Promise<void>;
  /** A clean end without any of these. */
  end(): Promise<void>;
  /** Breaks the connection. */
  breakOff(): Promise<void>;
}

/** An OpenAI-compatible server over real HTTP that behaves as told, call by call. */
export interface ModelUpstream {
  /** `http://127.0.0.1:port`, without a path. */
  readonly url: string;
  readonly calls: readonly UpstreamCall[];
  /** How many calls were given up by the other side. */
  readonly aborted: number;
  /** The next `times` calls behave so. Behaviours queue up; without one a call gets `answers.good`. */
  next(behaviour: Behaviour, times?: number): void;
  /** The next call waits before its response head. */
  hold(): HeldCall;
  stream(): ScriptedStream;
  /** The next call to arrive. */
  nextCall(): Promise<UpstreamCall>;
  /** A call that was given up by the other side: each is reported once, also if it happened already. */
  waitAborted(): Promise<UpstreamCall>;
  /** Stops listening: connections are refused. */
  close(): Promise<void>;
}

/** Starts one on a free port of the loopback interface. */
export async function startModelUpstream(): Promise<ModelUpstream> {
  const calls: UpstreamCall[] = [];
  const queue: Behaviour[] = [];
  const arrivals: ((call: UpstreamCall) => void)[] = [];
  const abortWaiters: ((call: UpstreamCall) => void)[] = [];
  const unseen: UpstreamCall[] = [];
  let aborted = 0;

  const server = createServer(async (req, res) => {
    const behaviour = queue.shift() ?? answers.good;
    const gone = deferred<void>();
    const chunks: Buffer[] = [];
    for await (const part of req) chunks.push(part);
    const body = Buffer.concat(chunks);
    const { method = "", url = "", headers, rawHeaders } = req;
    const json = parse(body);
    const call: UpstreamCall = {
      method,
      path: url,
      headers,
      rawHeaders,
      body,
      json,
      connection: req.socket.remotePort,
      aborted: gone.promise,
      billed: openBill(json, res),
    };
    res.once("close", () => {
      if (res.writableFinished || brokenByUs.has(res)) return;
      aborted++;
      gone.resolve();
      const waiter = abortWaiters.shift();
      if (waiter === undefined) unseen.push(call);
      else waiter(call);
    });
    calls.push(call);
    for (const resolve of arrivals.splice(0)) resolve(call);
    await behaviour(call, res);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    get aborted() {
      return aborted;
    },
    next: (behaviour, times = 1) => void queue.push(...Array<Behaviour>(times).fill(behaviour)),
    hold: () => hold(queue),
    stream: () => openStream(queue),
    nextCall: () => new Promise((resolve) => arrivals.push(resolve)),
    waitAborted: async () => unseen.shift() ?? new Promise((resolve) => abortWaiters.push(resolve)),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function hold(queue: Behaviour[]): HeldCall {
  const arrival = deferred<UpstreamCall>();
  const released = deferred<Behaviour>();
  queue.push(async (call, res) => {
    arrival.resolve(call);
    const behaviour = await released.promise;
    if (!res.closed) await behaviour(call, res);
  });
  return { arrived: arrival.promise, release: (behaviour = answers.good) => released.resolve(behaviour) };
}

function openStream(queue: Behaviour[]): ScriptedStream {
  const opened = deferred<{ call: UpstreamCall; res: ServerResponse }>();
  queue.push((call, res) => {
    res.writeHead(200, SSE).flushHeaders();
    opened.resolve({ call, res });
  });
  const write = async (make: (call: UpstreamCall) => string | Uint8Array): Promise<void> => {
    const { call, res } = await opened.promise;
    await new Promise<void>((resolve) => res.write(make(call), () => resolve()));
  };
  const end = async (make: (call: UpstreamCall) => string): Promise<void> => {
    const { call, res } = await opened.promise;
    await new Promise<void>((resolve) => res.end(make(call), () => resolve()));
  };
  return {
    arrived: opened.promise.then(({ call }) => call),
    delta: (text) => write((call) => event(chunk(call, { content: text }))),
    data: (value) => write(() => event(value)),
    raw: (bytes) => write(() => bytes),
    errorFrame: () => write(() => event(SECRET_ERROR)),
    finish: (usage) => end((call) => closing(call, usage ?? null)),
    end: () => end(() => ""),
    breakOff: async () => breakOff((await opened.promise).res),
  };
}

function parse(body: Buffer): UpstreamCall["json"] {
  try {
    return JSON.parse(body.toString());
  } catch {
    return {};
  }
}

function deferred<Value>(): { readonly promise: Promise<Value>; readonly resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
