import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/**
 * Whether a connection that closed early was closed from our side. It is the peer's doing unless it is plainly ours: a
 * handler that destroys the socket does so without an error, or with one of its own. What the peer can bring about shows as
 * its FIN (the readable side ended), as an error with a code (a reset, bytes that are not HTTP, a request that never ends), or as a
 * CONNECT.
 */
export function closedByUs(req: IncomingMessage): boolean {
  return !peerLeft(req.socket);
}

function peerLeft(socket: Socket): boolean {
  const { readableEnded, errored } = socket;
  return readableEnded || (errored !== null && "code" in errored) || connected.has(socket);
}

/** Connections that their client asked to have for something else, in the midst of an answer or after it. */
const connected = new WeakSet<Duplex>();
const watched = new WeakSet<EventEmitter>();

/** A CONNECT that nobody listens for ends the connection, and Node says of that no more than of a handler's doing. */
function watchForConnect(socket: Socket): void {
  const server: unknown = "server" in socket ? socket.server : undefined;
  if (!(server instanceof EventEmitter) || watched.has(server)) return;
  watched.add(server);
  server.prependListener("connect", (_req: IncomingMessage, asking: Duplex) => {
    connected.add(asking);
    // As without this listener.
    if (server.listenerCount("connect") === 1) asking.destroy();
  });
}

/** Who holds a connection now. The wrapped method stays on it: deleting it again would slow the socket down for good. */
const holders = new WeakMap<Socket, () => boolean>();
const nobody = (): boolean => false;

/**
 * Express answers an error that comes after the head by destroying the connection. While the answer is held nothing of it
 * has left, so this is only the handler's failure: `onDestroy` may take it (true), and the connection lives.
 * Returns a function that stops it.
 */
export function holdConnection({ socket }: IncomingMessage, onDestroy: () => boolean): () => void {
  if (!holders.has(socket)) {
    watchForConnect(socket);
    const { destroy } = socket;
    socket.destroy = (error?: Error): Socket => {
      const taken = error === undefined && !peerLeft(socket) && holders.get(socket)?.() === true;
      return taken ? socket : destroy.call(socket, error);
    };
  }
  holders.set(socket, onDestroy);
  return () => {
    // A pipelined request may hold it by now.
    if (holders.get(socket) === onDestroy) holders.set(socket, nobody);
  };
}

/** How long a connection that was given up waits for a client that does not read its answer. */
const LINGER_MS = 5_000;

/** Closes a connection that was given up once its client has stopped reading. */
export function lingerOn({ socket }: IncomingMessage): void {
  socket.setTimeout(LINGER_MS, () => socket.destroy());
}
