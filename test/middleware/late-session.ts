import type { RequestHandler } from "express";

/**
 * As express-session ends a response whose session is saved: a head of Node's own where none has left, all but the last byte now, the
 * end when the store has answered. What it is given as a chunk is one.
 */
export const session: RequestHandler = (_req, res, next) => {
  const { write, end } = res;
  res.end = ((chunk: unknown, encoding?: BufferEncoding) => {
    if (Reflect.get(res, "_header") === null) Reflect.apply(Reflect.get(res, "_implicitHeader"), res, []);
    const bytes = chunk == null ? Buffer.alloc(0) : Buffer.from(chunk as string, encoding);
    if (bytes.length > 0) Reflect.apply(write, res, [bytes.subarray(0, -1)]);
    setTimeout(() => Reflect.apply(end, res, bytes.length > 0 ? [bytes.subarray(-1)] : []), 20);
    return res;
  }) as typeof res.end;
  next();
};
