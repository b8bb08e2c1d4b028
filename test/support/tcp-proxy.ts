import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** What stands between a client and a server on loopback, as a name or an address does that can move. */
export interface TcpProxy {
  readonly port: number;
  /** Connections made from now on go to this port. */
  aimAt(port: number): void;
  /** Connections that are open stay open, and nothing passes through them any more. */
  silence(): void;
  /** The next request that has this in it reaches its server, and the answer is lost with the connection. */
  loseAnswerTo(words: string): void;
  close(): Promise<void>;
}

export async function startTcpProxy(port: number): Promise<TcpProxy> {
  let target = port;
  let lost: string | undefined;
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.on("data", (chunk: Buffer) => {
      if (lost === undefined || !chunk.includes(lost)) return;
      lost = undefined;
      upstream
        .unpipe(client)
        .once("data", () => client.destroy())
        .resume();
    });
    client.pipe(upstream);
    upstream.pipe(client);
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        for (const each of pair) each.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The proxy has no port.");
  return {
    port: address.port,
    aimAt(next) {
      target = next;
    },
    loseAnswerTo(words) {
      lost = words;
    },
    silence() {
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream).pause();
        upstream.unpipe(client).pause();
      }
    },
    async close() {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
