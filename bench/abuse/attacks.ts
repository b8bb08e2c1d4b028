import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** What an attack came to. */
export interface Spoils {
  /** Requests answered, or connections opened. */
  readonly sent: number;
  /** Answers with a status of 2xx; 3xx would be one too. */
  readonly served: number;
  /** Connections that failed or that the server closed. */
  readonly closed: number;
}

/** Runs until it is done, and at least until `until` is aborted. */
export type Attack = (port: number, until: AbortSignal) => Promise<Spoils>;

const SENDERS = 32;
/** So many connections are opened in one go. */
const OPENED_TOGETHER = 200;
const DRIP_EVERY_MS = 1_000;

/** Sends so many requests, of these in turn, one after the other on each of 32 connections. */
export function sendMany(requests: readonly Buffer[], count: number): Attack {
  return async (port, until) => {
    let sent = 0;
    let answered = 0;
    let served = 0;
    let closed = 0;
    const sender = async () => {
      while (sent < count || !until.aborted) {
        const socket = connect(port, "127.0.0.1").on("error", () => undefined);
        for await (const status of statusesOf(socket, () => {
          const more = sent < count || !until.aborted;
          return more ? requests[sent++ % requests.length] : undefined;
        })) {
          answered += 1;
          if (status < 400) served += 1;
        }
        closed += 1;
      }
    };
    await Promise.all(Array.from({ length: SENDERS }, sender));
    return { sent: answered, served, closed: closed - SENDERS };
  };
}

/** Sends the next request whenever one was answered, and yields the statuses; ends with the connection. */
async function* statusesOf(socket: Socket, next: () => Buffer | undefined): AsyncGenerator<number> {
  const first = next();
  if (first === undefined) {
    socket.destroy();
    return;
  }
  socket.write(first);
  let text = "";
  try {
    for await (const chunk of socket) {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (end === -1 || text.length < end + 4 + length) continue;
      yield Number(text.slice(9, 12));
      text = "";
      const request = next();
      if (request === undefined) return;
      socket.write(request);
    }
  } catch {
    // Reset: the sender opens another.
  } finally {
    socket.destroy();
  }
}

/** Opens so many connections and sends `opening(index)` on each, and then nothing, or a byte a second. */
export function holdMany(count: number, opening: (index: number) => string, drips: boolean): Attack {
  return async (port, until) => {
    const sockets: Socket[] = [];
    let served = 0;
    let closed = 0;
    const open = (index: number) =>
      new Promise<void>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.write(opening(index));
          resolve();
        });
        socket
          .on("error", () => undefined)
          .on("data", (chunk: Buffer) => {
            if (/^HTTP\/1\.1 [23]/.test(chunk.toString("latin1"))) served += 1;
          });
        socket.once("close", () => {
          closed += 1;
          resolve();
        });
        sockets.push(socket);
      });
    while (sockets.length < count) {
      const from = sockets.length;
      const together = Math.min(OPENED_TOGETHER, count - from);
      await Promise.all(Array.from({ length: together }, (_, offset) => open(from + offset)));
    }
    while (!until.aborted) {
      await wait(DRIP_EVERY_MS, undefined, { signal: until }).catch(() => undefined);
      if (drips) for (const socket of sockets) if (socket.writable) socket.write("x");
    }
    const spoils = { sent: sockets.length, served, closed };
    await Promise.all(sockets.map(end));
    return spoils;
  };
}

function end(socket: Socket): Promise<void> | undefined {
  if (socket.closed) return undefined;
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.destroy();
  });
}
