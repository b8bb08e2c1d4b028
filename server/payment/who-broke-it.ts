import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/**
 * Whether a connection that closed early was closed from our side. It is the peer's doing unless it is plainly ours: a
 * handler that destroys the socket does so without an error, or with one of its own. What the peer can bring about shows as
 * its FIN (the readable side ended) or as an error with a code: a reset, bytes that are not HTTP, a request that never ends.
 */
export function closedByUs(req: IncomingMessage): boolean {
  return !peerLeft(req.socket);
}

function peerLeft({ readableEnded, errored }: Socket): boolean {
  return readableEnded || (errored !== null && "code" in errored);
}

/**
 * Express answers an error that comes after the head by destroying the connection. While the answer is held nothing of it
 * has left, so this is only the handler's failure: `onDestroy` may take it (true), and the connection lives.
 * Returns a function that stops it.
 */
export function holdConnection(req: IncomingMessage, onDestroy: () => boolean): () => void {
  const { socket } = req;
  const { destroy } = socket;
  const own = Object.hasOwn(socket, "destroy");
  const held = (error?: Error): Socket =>
    error === undefined && !peerLeft(socket) && onDestroy() ? socket : destroy.call(socket, error);
  socket.destroy = held;
  return () => {
    // A pipelined request's gate may have come on top of ours.
    if (socket.destroy !== held) return;
    if (own) socket.destroy = destroy;
    else Reflect.deleteProperty(socket, "destroy");
  };
}

/** How long a connection that was given up waits for a client that does not read its answer. */
const LINGER_MS = 5_000;

/** Closes a connection that was given up once its client has stopped reading. */
export function lingerOn({ socket }: IncomingMessage): void {
  socket.setTimeout(LINGER_MS, () => socket.destroy());
}
