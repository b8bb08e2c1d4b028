import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";

/**
 * The whole request body, and the request as if nobody had read it: the bytes are put back, so a body parser behind the
 * paywall still finds them. A body that a parser in front has consumed is given in its parsed form instead.
 * Fails with `body_too_large` or `body_incomplete`.
 */
export async function readBody(req: IncomingMessage, limitBytes: number): Promise<Buffer | GatewayError> {
  const declared = Number(req.headers["content-length"] ?? 0);
  if (declared > limitBytes) return new GatewayError("body_too_large");
  if (req.readableEnded || req.readableDidRead) return parsedBody(req);
  // An empty body must not be touched: reading it emits its 'end' before the handler listens for that.
  if (declared === 0 && req.headers["transfer-encoding"] === undefined) return Buffer.alloc(0);
  // Lets the parser finish what arrived together with the head.
  await Promise.resolve();
  if (req.complete && req.readableLength === 0) return Buffer.alloc(0);
  // The client left before its turn came: no event will say so again.
  if (req.destroyed) return new GatewayError("body_incomplete");
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (result: Buffer | GatewayError): void => {
      req.off("readable", onReadable).off("end", onEnd).off("close", onClose).off("error", onClose);
      resolve(result);
    };
    const onReadable = (): void => {
      while (req.readableLength > 0) {
        const chunk: unknown = req.read();
        if (!Buffer.isBuffer(chunk)) break;
        size += chunk.length;
        if (size <= limitBytes) chunks.push(chunk);
      }
      if (size > limitBytes) finish(new GatewayError("body_too_large"));
      if (size > limitBytes || !req.complete) return;
      const body = Buffer.concat(chunks, size);
      // Allowed until 'end' has been emitted, which waits for the buffer to be empty again.
      if (size > 0) req.unshift(body);
      finish(body);
    };
    const onEnd = (): void => finish(Buffer.concat(chunks, size));
    const onClose = (): void => finish(new GatewayError("body_incomplete"));
    req.on("readable", onReadable).on("end", onEnd).on("close", onClose).on("error", onClose);
  });
}

/** What `express.json()` and its like leave on the request. */
function parsedBody(req: IncomingMessage): Buffer {
  const body: unknown = "body" in req ? req.body : undefined;
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}
