import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

/** Below the ports that the system gives to outgoing connections, also 10,000 further up, where a Redis Cluster's bus listens. */
const FIRST = 12_000;
const LAST = 21_999;

/**
 * A free loopback port for a server that goes away and comes back: while it is away, no outgoing connection is given its port, and
 * nobody else who asks here, of whatever process, before this one has ended.
 */
export async function lastingPort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, LAST + 1);
    if ((await isOurs(port)) && (await isFree(port))) return port;
  }
}

/** Takes the UDP port of the same number, which nothing else uses: the system gives it to one process, and takes it back at its end. */
async function isOurs(port: number): Promise<boolean> {
  const socket = createSocket({ type: "udp4" }).unref();
  const listening = once(socket, "listening").then(
    () => true,
    () => false,
  );
  socket.bind({ port, address: "127.0.0.1", exclusive: true });
  const isTaken = await listening;
  if (!isTaken) socket.close();
  return isTaken;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, "listening").then(
    () => true,
    () => false,
  );
  server.listen(port, "127.0.0.1");
  if (!(await listening)) return false;
  server.close();
  await once(server, "close");
  return true;
}
