import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";

/**
 * The whole request body, and the request as if nobody had read it: the bytes are put back, so a body parser behind the
 * paywall still finds them. A body that a parser in front has consumed is given as it left it, in `req.body` or `req.rawBody`.
 * Fails with `body_too_large` or `body_incomplete`, and with `internal_error` where a body was read in front and not left whole: the
 * handler would be sold without it, or for another one.
 */
export async function readBody(req: IncomingMessage, limitBytes: number): Promise<Buffer | GatewayError> {
  const declared = Number(req.headers["content-length"] ?? 0);
  if (declared > limitBytes) return new GatewayError("body_too_large");
  const isDeclared = declared > 0 || req.headers["transfer-encoding"] !== undefined;
  const isTaken = req.readableEnded || req.readableDidRead || req.readableFlowing === true;
  if (isTaken)
    return parsedBody(req) ?? (isDeclared ? new GatewayError("internal_error", LOST) : Buffer.alloc(0));
  // An empty body must not be touched: reading it emits its 'end' before the handler listens for that.
  if (!isDeclared) return Buffer.alloc(0);
  // Lets the parser finish what arrived together with the head.
  await Promise.resolve();
  if (req.complete && req.readableLength === 0) return Buffer.alloc(0);
  // The client left before its turn came: no event will say so again.
  if (req.destroyed) return new GatewayError("body_incomplete");
  // Of what was told its encoding in front the chunks are texts, and must be texts again.
  const encoding = req.readableEncoding;
  return new Promise((resolve) => {
    const bytes = createBytes();
    const finish = (result: Buffer | GatewayError): void => {
      req.off("readable", onReadable).off("end", onEnd).off("close", onClose).off("error", onClose);
      resolve(result);
    };
    const onReadable = (): void => {
      while (req.readableLength > 0) {
        const read: unknown = req.read();
        const chunk = typeof read === "string" ? Buffer.from(read, encoding ?? "utf8") : read;
        if (!Buffer.isBuffer(chunk)) break;
        if (bytes.size + chunk.length > limitBytes) {
          finish(new GatewayError("body_too_large"));
          // Node reads off what nobody has begun to read, but not this: the connection's next request would wait behind it.
          req.resume();
          return;
        }
        bytes.add(chunk);
      }
      if (!req.complete) return;
      const body = bytes.whole();
      // Allowed until 'end' has been emitted, which waits for the buffer to be empty again.
      if (body.length > 0 && encoding === null) req.unshift(body);
      else if (body.length > 0) req.unshift(body.toString(encoding ?? "utf8"), encoding ?? "utf8");
      if (body.length > 0) markUnread(req);
      finish(body);
    };
    const onEnd = (): void => finish(bytes.whole());
    const onClose = (): void => finish(new GatewayError("body_incomplete"));
    req.on("readable", onReadable).on("end", onEnd).on("close", onClose).on("error", onClose);
  });
}

/**
 * `readableDidRead` is false again: `new Request(url, { body: req })`, `fetch`, and the servers and frameworks that make a Request of
 * every call, refuse a stream that somebody has read from. Node has no public way to say it.
 */
function markUnread(req: IncomingMessage): void {
  const state: unknown = "_readableState" in req ? req._readableState : undefined;
  if (typeof state === "object" && state !== null) Reflect.set(state, "dataEmitted", false);
}

/** Bytes that come in pieces. None of them is kept by itself: pieces of one byte, as anybody may send them, take 250 each. */
function createBytes() {
  let held: Buffer = Buffer.alloc(0);
  let size = 0;
  return {
    get size() {
      return size;
    },
    add(piece: Buffer): void {
      const end = size + piece.length;
      if (size === 0) {
        held = piece;
      } else if (end > held.length) {
        const larger = Buffer.allocUnsafe(Math.max(end, 2 * held.length));
        held.copy(larger, 0, 0, size);
        piece.copy(larger, size);
        held = larger;
      } else {
        piece.copy(held, size);
      }
      size = end;
    },
    whole: () => held.subarray(0, size),
  };
}

const LOST = {
  message:
    "The request's body was read in front of the paywall and not left whole. Put the paywall first, or leave what was read in req.body.",
};

/** What `express.json()` and its like leave on the request; undefined: nothing. */
function parsedBody(req: IncomingMessage): Buffer | undefined {
  const left: unknown = "body" in req ? req.body : undefined;
  const parsed = isFieldsAlone(req, left) ? undefined : left;
  const body: unknown = parsed === undefined && "rawBody" in req ? req.rawBody : parsed;
  if (body === undefined) return undefined;
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body, withoutBigInt));
}

/** Of a form in parts its files are left elsewhere, if anywhere: without them two uploads would be one request. */
function isFieldsAlone({ headers }: IncomingMessage, body: unknown): boolean {
  const isForm = /^\s*multipart\//i.test(headers["content-type"] ?? "");
  return isForm && typeof body === "object" && !Buffer.isBuffer(body);
}

function withoutBigInt(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
