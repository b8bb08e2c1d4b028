import { connect } from "node:net";

/** An answer as it came off the socket. */
export interface RawAnswer {
  /** Every status line, in order; several for pipelined requests and `100 Continue`. Empty: closed without an answer. */
  readonly statuses: readonly number[];
  readonly text: string;
}

/** Sends exact bytes (latin1) on a connection of its own and reads until the server closes it. */
export function rawRequest(port: number, bytes: string): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(Buffer.from(bytes, "latin1")));
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET" && error.code !== "EPIPE") reject(error);
    });
    socket.on("close", () => {
      const text = Buffer.concat(chunks).toString("latin1");
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, text });
    });
  });
}

/** A request without a body after which the server closes. */
export function requestBytes(method: string, target: string, headers: readonly string[] = []): string {
  const lines = [`${method} ${target} HTTP/1.1`, "Host: shop.example", ...headers, "Connection: close"];
  return `${lines.join("\r\n")}\r\n\r\n`;
}
