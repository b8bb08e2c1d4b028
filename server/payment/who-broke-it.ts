import type { IncomingMessage } from "node:http";

const PEER_ERRORS = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED"]);

/**
 * Whether a connection that closed early was closed from our side. The peer's leaving shows as its FIN (the readable side
 * ended) or as one of the socket errors above; a handler that destroys the socket shows neither.
 */
export function closedByUs(req: IncomingMessage): boolean {
  const { socket } = req;
  if (socket.readableEnded) return false;
  const { errored } = socket;
  return !(errored !== null && "code" in errored && PEER_ERRORS.has(String(errored.code)));
}
