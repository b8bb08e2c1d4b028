import { once } from "node:events";
import type { Server } from "node:http";

export interface Listening {
  readonly url: string;
  close(): Promise<void>;
}

/** Binds a server to a free loopback port; `close` drops open connections too. */
export async function listen(server: Server): Promise<Listening> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
