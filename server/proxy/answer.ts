import type { ServerResponse } from "node:http";
import { GatewayError } from "../errors.ts";
import { createTogether } from "../together.ts";
import type { ProxyCall } from "./proxy-call.ts";

type Answering = Pick<ProxyCall, "res" | "signal">;

const together = createTogether();

/** Writes one chunk; a promise while the reader is slow. False: nobody takes the answer any more, stop. */
export function writeChunk(call: Answering, chunk: Uint8Array | string): boolean | Promise<boolean> {
  const { res, signal } = call;
  if (signal.aborted) return false;
  holdUntilTurnEnds(res);
  return res.write(chunk) || drained(call);
}

/** What streams write in one turn of the event loop leaves together; whatever ends the answer sends it at once. */
function holdUntilTurnEnds({ socket }: ServerResponse): void {
  if (socket === null || socket.writableCorked > 0) return;
  socket.cork();
  together(() => socket.uncork());
}

/** Ends the answer; resolves when it was handed over, or when nobody takes it. */
export function finish({ res, signal }: Answering, chunk?: Uint8Array | string): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener("abort", done);
      res.off("close", done);
      resolve();
    };
    signal.addEventListener("abort", done);
    res.once("close", done);
    if (chunk === undefined) res.end(done);
    else res.end(chunk, done);
  });
}

/** Writes a body as its chunks come, no faster than they are read, and ends the answer. */
export async function relay(call: Answering, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (!(await writeChunk(call, chunk))) return;
  }
  await finish(call);
}

/** The same, and the call is charged before the last chunk: nobody has a whole answer that could not be paid for. */
export async function relayCharged(
  call: Answering & Pick<ProxyCall, "chargeBeforeEnd">,
  body: AsyncIterable<Uint8Array>,
): Promise<void> {
  let last: Uint8Array | undefined;
  for await (const chunk of body) {
    if (last !== undefined && !(await writeChunk(call, last))) return;
    last = chunk;
  }
  if (call.signal.aborted || !(await call.chargeBeforeEnd())) return;
  await finish(call, last);
}

/** A whole JSON answer. */
export function writeJson(call: Answering, status: number, json: string | Uint8Array): Promise<void> {
  const { res } = call;
  if (call.signal.aborted) return Promise.resolve();
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.setHeader("Content-Length", Buffer.byteLength(json));
  res.writeHead(status);
  return finish(call, json);
}

/** Begins a model's answer in server-sent events. */
export function beginEventStream({ res, endsItself }: Answering & Pick<ProxyCall, "endsItself">): void {
  endsItself();
  res.setHeader("Content-Type", "text/event-stream; charset=utf-8");
  // Asks proxies of the nginx family not to collect the events.
  res.setHeader("X-Accel-Buffering", "no");
  res.writeHead(200);
}

/**
 * Answers a failure: in the mount's dialect while nothing has been written, else by breaking the connection, for an answer
 * that merely ends would look whole.
 */
export async function answerFailure(call: ProxyCall, cause: unknown): Promise<void> {
  const { res, signal, route } = call;
  if (signal.aborted || res.writableEnded) return;
  const error = cause instanceof GatewayError ? cause : new GatewayError("internal_error", { cause });
  if (res.headersSent) {
    call.breakOff(error);
    return;
  }
  for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
  await writeJson(call, error.status, error.text(route.dialect));
}

/**
 * Resolves when the reader has caught up, and tells whether there still is one. With a gate in front a closed response may still be
 * collected, so only the signal tells that nobody reads.
 */
function drained({ res, signal }: Answering): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener("abort", done);
      res.off("drain", done);
      resolve(!signal.aborted);
    };
    signal.addEventListener("abort", done);
    res.once("drain", done);
  });
}
