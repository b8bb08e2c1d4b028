import type { IncomingMessage, Server, ServerOptions, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type ErrorCode, GatewayError } from "./errors.ts";
import { pathOf } from "./route-table.ts";
import { dialectOf } from "./routes.ts";

/** What the public server gives each connection (docs/operations.md, "Limits of the server"). */
export interface ServerLimits {
  /** Until the headers of a request are complete. Never above `requestTimeoutMs`. */
  readonly headersTimeoutMs: number;
  /** Until a request is complete, its body included. An answer may take longer. */
  readonly requestTimeoutMs: number;
  /** Open connections; more are closed at once, unanswered. */
  readonly maxConnections: number;
}

/** How often Node looks for connections that are too slow; they live at most this much longer. */
const CHECK_EVERY_MS = 5_000;
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADER_BYTES = 24_576;

/**
 * Every limit that Node's server has, set on purpose: a later version of Node may change what it leaves to chance.
 * A test holds the table in docs/operations.md to these names and values.
 */
export function nodeLimits(limits: ServerLimits): ServerOptions {
  return {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_EVERY_MS, Math.ceil(limits.headersTimeoutMs / 4)),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
}

/** The limits that are properties of the server. `timeout` and `maxRequestsPerSocket` are off, and stay so (the same table). */
export function limitServer(server: Server, { maxConnections }: ServerLimits): void {
  server.maxConnections = maxConnections;
  server.timeout = 0;
  server.maxRequestsPerSocket = 0;
}

/** Node's words for what is wrong with a connection; anything else is bytes that are not HTTP. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: "headers_too_large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "body_too_large",
  ERR_HTTP_REQUEST_TIMEOUT: "request_timeout",
};

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  413: "Content Too Large",
  431: "Request Header Fields Too Large",
};

/** A client that has sent what cannot be read gets this long to read why. */
const LINGER_MS = 1_000;

/** The last request of a connection, and its answer. */
interface Call {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** Answers what Node refuses by itself. */
export interface ConnectionFaults {
  /** A request was read as far as its headers; its answer is not begun. */
  arrived(req: IncomingMessage, res: ServerResponse): void;
}

/**
 * Answers requests that are too slow, too large or no HTTP with an error in our shape, and closes the connection.
 * Nothing is written where it could be read as the answer to another call: then the connection is only closed. Race: a slow
 * request may become complete while its connection is being closed, so after a 408 nothing more is read from it.
 */
export function answerConnectionFaults(server: Server): ConnectionFaults {
  const latest = new WeakMap<Duplex, Call>();
  server.on("clientError", (fault: NodeJS.ErrnoException, socket) => {
    // Answered: what still comes is read and dropped, so that the client's unsent bytes do not reset the answer away.
    if (socket.writableEnded && !socket.destroyed) return;
    const call = latest.get(socket);
    if (fault.code === "ECONNRESET" || !socket.writable || !mayAnswer(call)) {
      socket.destroy(fault);
      return;
    }
    const answer = answerTo(fault, call?.req.complete === false ? pathOf(call.req) : undefined);
    if (fault.code === "ERR_HTTP_REQUEST_TIMEOUT") {
      socket.write(answer);
      socket.destroy(fault);
      return;
    }
    socket.end(answer);
    const linger = setTimeout(() => socket.destroy(fault), LINGER_MS).unref();
    socket.once("close", () => clearTimeout(linger));
  });
  return { arrived: (req, res) => void latest.set(req.socket, { req, res }) };
}

/**
 * The fault is of the connection's first request, of one after the last that was answered, or of one whose body is still coming
 * and whose answer has not begun.
 */
function mayAnswer(call: Call | undefined): boolean {
  if (call === undefined) return true;
  const { req, res } = call;
  if (req.complete) return res.writableFinished;
  // A response that waits behind another has no socket yet.
  return res.socket !== null && !res.headersSent && !res.writableFinished;
}

function answerTo(fault: NodeJS.ErrnoException, path: string | undefined): string {
  const code = FAULTS[fault.code ?? ""];
  const error =
    code === undefined
      ? new GatewayError("invalid_request", { message: "What was received is not a valid HTTP/1.1 request." })
      : new GatewayError(code);
  const body = error.text(dialectOf(path));
  return [
    `HTTP/1.1 ${error.status} ${REASONS[error.status] ?? "Error"}`,
    `Date: ${new Date().toUTCString()}`,
    "Connection: close",
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Cache-Control: private, no-store",
    "Access-Control-Allow-Origin: *",
    "",
    body,
  ].join("\r\n");
}
