import type { ServerResponse } from "node:http";

/** Characters that Node does not let into a status line. */
const NOT_IN_MESSAGE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * `writeHead(status, message?, headers?)` without sending: the headers as an object, a flat list or a list of pairs, over
 * those set before. Throws what Node throws, so that the handler's mistake is the handler's error and not ours after the
 * money has moved.
 */
export function applyHead(res: ServerResponse, status: unknown, [first, second]: readonly unknown[]): void {
  const code = Math.trunc(Number(status));
  if (!(code >= 100 && code <= 999)) {
    throw withCode(new RangeError(`Invalid status code: ${String(status)}`), "ERR_HTTP_INVALID_STATUS_CODE");
  }
  const message = typeof first === "string" ? first : res.statusMessage;
  if (message !== undefined && NOT_IN_MESSAGE.test(message)) {
    throw withCode(new TypeError("Invalid character in statusMessage"), "ERR_INVALID_CHAR");
  }
  res.statusCode = code;
  if (typeof first === "string") res.statusMessage = first;
  const headers = typeof first === "string" ? second : (second ?? first);
  if (Array.isArray(headers)) applyList(res, headers);
  else if (typeof headers === "object" && headers !== null) {
    for (const [name, value] of Object.entries(headers)) {
      if (isHeader(value)) res.setHeader(name, value);
    }
  }
}

/** What was paid for is stored nowhere; that nobody may transform it, which compression in front heeds, stays as the handler said. */
export function forbidStoring(res: ServerResponse): void {
  const keepsForm = /(?:^|[\s,])no-transform(?:$|[\s,])/i.test(String(res.getHeader("cache-control") ?? ""));
  res.setHeader("Cache-Control", keepsForm ? "private, no-store, no-transform" : "private, no-store");
}

/** How many bytes a chunk is. */
export function byteLength(chunk: string | Uint8Array, encoding: unknown): number {
  if (typeof chunk !== "string") return chunk.byteLength;
  return Buffer.byteLength(chunk, encodingOf(encoding));
}

/** The bytes of a chunk, copied: a handler may use its buffer again once its callback was called. */
export function toBytes(chunk: unknown, encoding: unknown): Buffer {
  if (typeof chunk === "string") {
    return Buffer.from(chunk, encodingOf(encoding));
  }
  if (chunk instanceof Uint8Array) return Buffer.from(chunk);
  const message = 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array';
  throw withCode(new TypeError(message), "ERR_INVALID_ARG_TYPE");
}

function encodingOf(encoding: unknown): BufferEncoding {
  return typeof encoding === "string" && Buffer.isEncoding(encoding) ? encoding : "utf8";
}

/** Node's error for a head that comes too late. */
export function headersSent(action: string): Error {
  const message = `Cannot ${action} headers after they are sent to the client`;
  return withCode(new Error(message), "ERR_HTTP_HEADERS_SENT");
}

/** Node's error for a write that nobody will read. */
export function streamDestroyed(): Error {
  return withCode(new Error("Cannot call write after a stream was destroyed"), "ERR_STREAM_DESTROYED");
}

/** Replaces earlier headers of the same names; a name that the list has twice stays twice. */
function applyList(res: ServerResponse, list: readonly unknown[]): void {
  const pairs = list.every(Array.isArray) ? list : chunkPairs(list);
  for (const [name] of pairs) {
    if (typeof name === "string") res.removeHeader(name);
  }
  for (const [name, value] of pairs) {
    if (typeof name !== "string" || !isHeader(value)) continue;
    res.appendHeader(name, typeof value === "number" ? String(value) : value);
  }
}

function chunkPairs(flat: readonly unknown[]): readonly (readonly unknown[])[] {
  return Array.from({ length: Math.floor(flat.length / 2) }, (_, index) =>
    flat.slice(2 * index, 2 * index + 2),
  );
}

function isHeader(value: unknown): value is string | number | readonly string[] {
  return typeof value === "string" || typeof value === "number" || Array.isArray(value);
}

function withCode<Fault extends Error>(error: Fault, code: string): Fault & { readonly code: string } {
  return Object.assign(error, { code });
}
