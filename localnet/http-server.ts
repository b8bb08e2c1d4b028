import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIPv6 } from "node:net";

export interface HttpRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly body: string;
}

export interface HttpReply {
  readonly status: number;
  /** Written as JSON; bigints as numbers. */
  readonly body: unknown;
}

export type HttpHandler = (request: HttpRequest) => HttpReply | Promise<HttpReply>;

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** The environment variable that sets the port, for the error message. */
  readonly portVariable: string;
}

/** A port that is ours; it answers 503 until `serve` is called. */
export interface HttpServer {
  readonly url: string;
  serve(handler: HttpHandler): void;
  /** Cuts open connections. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 1024 * 1024;
/** A longer body is still read to here, so that the client sees the 413 instead of a broken pipe. */
const MAX_DISCARDED_BYTES = 16 * MAX_BODY_BYTES;

/** Wallets in browsers call the chain from any page; a private-network preflight is answered too. */
const HEADERS = {
  "content-type": "application/json",
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "*",
  "access-control-allow-private-network": "true",
};

/** Binds the port. Rejects with an Error that names the port and its variable if somebody else has it. */
export async function listenHttp(options: ListenOptions): Promise<HttpServer> {
  const { host, port, portVariable } = options;
  let handler: HttpHandler = () => ({ status: 503, body: { error: { code: "starting" } } });
  const server = createServer((req, res) => void answer(req, res, handler));
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    if (!inUse) throw cause;
    throw new Error(`Port ${port} on ${host} is in use. Set ${portVariable} to a free one.`, { cause });
  }
  return {
    url: urlOf(server, host),
    serve: (next) => {
      handler = next;
    },
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function urlOf(server: Server, host: string): string {
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("The server listens on no port.");
  return `http://${isIPv6(host) ? `[${host}]` : host}:${bound.port}`;
}

async function answer(req: IncomingMessage, res: ServerResponse, handler: HttpHandler): Promise<void> {
  if (req.method === "OPTIONS") {
    res.writeHead(204, HEADERS).end();
    return;
  }
  try {
    const body = await readBody(req);
    if (body === undefined) {
      send(res, { status: 413, body: { error: { code: "body_too_large" } } });
      return;
    }
    const path = (req.url ?? "/").split("?", 1)[0] ?? "/";
    send(res, await handler({ method: req.method ?? "GET", path, body }));
  } catch {
    // The client has left (nobody reads this), or one of our own parts failed.
    if (!res.headersSent) send(res, { status: 500, body: { error: { code: "internal_error" } } });
  }
}

function send(res: ServerResponse, { status, body }: HttpReply): void {
  const text = JSON.stringify(body, (_, value) => (typeof value === "bigint" ? Number(value) : value));
  res.writeHead(status, { ...HEADERS, "content-length": Buffer.byteLength(text) }).end(text);
}

/** Undefined if it is too long; a far too long one ends the connection. */
async function readBody(req: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req) {
    bytes += chunk.length;
    if (bytes > MAX_DISCARDED_BYTES) return undefined;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return bytes > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks).toString("utf8");
}
