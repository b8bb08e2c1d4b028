import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from "node:http";

/** What the gate does with each call that a handler makes on its response. */
export interface ResponseSink {
  head(): void;
  /** False = the handler should wait for 'drain'. */
  write(chunk: Buffer, done: () => void): boolean;
  end(chunk: Buffer | undefined, done: () => void): void;
  flushHeaders(): void;
  /** True = handled; false = let Node destroy the response. */
  destroy(): boolean;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  /** False once the sink answers in the handler's place: its headers then go nowhere. */
  readonly keepsHeaders: boolean;
}

type Callback = (error?: Error | null) => void;

/**
 * Puts a sink between a handler and its response, for any handler: `res.json`, `write`, `pipe`, `sendFile`, SSE. Returns a
 * function that takes the sink out again, restoring the methods found (also another middleware's).
 */
export function interceptResponse(res: ServerResponse, sink: ResponseSink): () => void {
  const { writeHead, write, end, flushHeaders, destroy, setHeader, appendHeader, removeHeader } = res;
  const own = Object.getOwnPropertyNames(res).filter((name) => METHODS.includes(name));
  const saved = { writeHead, write, end, flushHeaders, destroy, setHeader, appendHeader, removeHeader };

  Object.assign(res, {
    writeHead: (status: number, ...rest: readonly unknown[]) => {
      if (sink.keepsHeaders) applyHead(res, status, rest);
      sink.head();
      return res;
    },
    write: (chunk: unknown, encoding?: unknown, callback?: unknown) => {
      sink.head();
      return sink.write(toBuffer(chunk, encoding) ?? EMPTY, callbackOf(encoding, callback));
    },
    end: (chunk?: unknown, encoding?: unknown, callback?: unknown) => {
      sink.head();
      sink.end(toBuffer(chunk, encoding), callbackOf(chunk, encoding, callback));
      return res;
    },
    flushHeaders: () => {
      sink.head();
      sink.flushHeaders();
    },
    destroy: (error?: Error) => (sink.destroy() ? res : destroy.call(res, error)),
    setHeader: (name: string, value: number | string | readonly string[]) =>
      sink.keepsHeaders ? setHeader.call(res, name, value) : res,
    appendHeader: (name: string, value: string | readonly string[]) =>
      sink.keepsHeaders ? appendHeader.call(res, name, value) : res,
    removeHeader: (name: string) => {
      if (sink.keepsHeaders) removeHeader.call(res, name);
    },
  });
  Object.defineProperty(res, "headersSent", { configurable: true, get: () => sink.headersSent });
  Object.defineProperty(res, "writableEnded", { configurable: true, get: () => sink.writableEnded });

  return () => {
    for (const name of METHODS) Reflect.deleteProperty(res, name);
    for (const name of own) Reflect.set(res, name, Reflect.get(saved, name));
    Reflect.deleteProperty(res, "headersSent");
    Reflect.deleteProperty(res, "writableEnded");
  };
}

const METHODS = [
  "writeHead",
  "write",
  "end",
  "flushHeaders",
  "destroy",
  "setHeader",
  "appendHeader",
  "removeHeader",
];
const EMPTY = Buffer.alloc(0);

/** `writeHead(status, message?, headers?)`, with the headers as an object or as a flat list, as Node takes them. */
function applyHead(res: ServerResponse, status: number, rest: readonly unknown[]): void {
  if (res.headersSent) throw new Error("Cannot write headers after they are sent to the client");
  res.statusCode = status;
  const [first, second] = rest;
  if (typeof first === "string") res.statusMessage = first;
  const headers = typeof first === "string" ? second : first;
  if (Array.isArray(headers)) applyList(res, headers);
  else if (isHeaders(headers)) {
    for (const [name, value] of Object.entries(headers)) setIfDefined(res, name, value);
  }
}

function applyList(res: ServerResponse, list: readonly unknown[]): void {
  const pairs = list.every(Array.isArray) ? list : chunkPairs(list);
  for (const pair of pairs) {
    const [name, value]: unknown[] = Array.isArray(pair) ? pair : [];
    if (typeof name === "string" && typeof value === "string") res.appendHeader(name, value);
  }
}

function chunkPairs(flat: readonly unknown[]): readonly unknown[][] {
  return Array.from({ length: Math.floor(flat.length / 2) }, (_, index) =>
    flat.slice(2 * index, 2 * index + 2),
  );
}

function isHeaders(value: unknown): value is OutgoingHttpHeaders {
  return typeof value === "object" && value !== null;
}

function setIfDefined(res: ServerResponse, name: string, value: OutgoingHttpHeader | undefined): void {
  if (value !== undefined) res.setHeader(name, value);
}

function toBuffer(chunk: unknown, encoding: unknown): Buffer | undefined {
  if (typeof chunk === "string") {
    return Buffer.from(
      chunk,
      typeof encoding === "string" && Buffer.isEncoding(encoding) ? encoding : "utf8",
    );
  }
  return chunk instanceof Uint8Array
    ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    : undefined;
}

function callbackOf(...candidates: readonly unknown[]): () => void {
  const callback = candidates.find(isCallback);
  return callback === undefined ? () => {} : () => callback();
}

function isCallback(value: unknown): value is Callback {
  return typeof value === "function";
}
