import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { queryObjects } from "node:v8";
import { afterEach, expect, test } from "vitest";
import { readBody } from "../../server/payment/read-body.ts";

const CRUMBS = 50_000;
const LIMIT = 1_048_576;

let stop: () => void = () => undefined;
afterEach(() => stop());

test("a body that comes a byte at a time takes its bytes, not an object for each of them", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect(port, "127.0.0.1");
  stop = () => {
    client.destroy();
    server.close();
  };
  client.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const [req] = (await once(server, "request")) as [IncomingMessage];
  const reading = readBody(req, LIMIT);
  const before = bytesInMemory();
  const expected = req.socket.bytesRead + CRUMBS * 6;
  client.write("1\r\nx\r\n".repeat(CRUMBS));
  while (req.socket.bytesRead < expected) await turn();
  await turn();
  expect(bytesInMemory() - before).toBeLessThan(CRUMBS / 10);
  client.write("0\r\n\r\n");
  expect(await reading).toEqual(Buffer.alloc(CRUMBS, "x"));
});

/** After a full collection. */
function bytesInMemory(): number {
  return Number(queryObjects(Uint8Array, { format: "count" }));
}
