import { once } from "node:events";
import { createServer, get, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { Cancellation } from "../../facilitator-client/cancellation.ts";
import { finish, writeChunk } from "../../server/proxy/answer.ts";

/** A response of a real server, and what its client gets of it. */
async function open(): Promise<{ res: ServerResponse; answer: Promise<string> }> {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const arrived: Promise<unknown[]> = once(server, "request");
  const { port } = server.address() as AddressInfo;
  const answer = new Promise<string>((resolve, reject) => {
    get({ port, host: "127.0.0.1" }, (response: IncomingMessage) => {
      response.setEncoding("utf8");
      let text = "";
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
    }).on("error", reject);
  });
  const [, res] = (await arrived) as [IncomingMessage, ServerResponse];
  return { res, answer };
}

test("chunks of one turn leave at its end, but the first at once, and are all there", async () => {
  const { res, answer } = await open();
  const call = { res, signal: new Cancellation() };
  // Node itself holds what is written only until the next tick.
  const tick = () => new Promise<void>((resolve) => process.nextTick(resolve));
  expect(await writeChunk(call, "one ")).toBe(true);
  await tick();
  expect(res.socket?.writableCorked).toBe(0);
  expect(await writeChunk(call, "two ")).toBe(true);
  await tick();
  expect(res.socket?.writableCorked).toBe(1);
  await turn();
  expect(res.socket?.writableCorked).toBe(0);
  expect(await writeChunk(call, "three")).toBe(true);
  await finish(call);
  expect(await answer).toBe("one two three");
});

test("an answer that ends in the turn of its last chunk is whole, and the connection goes on", async () => {
  const { res, answer } = await open();
  const { socket } = res;
  const call = { res, signal: new Cancellation() };
  await writeChunk(call, "one ");
  await finish(call, "two");
  await turn();
  expect(await answer).toBe("one two");
  expect(socket?.writableCorked).toBe(0);
});

test("a chunk waits for a slow reader, and says whether it is still there", async () => {
  const { res, answer } = await open();
  const [staying, leaving] = [new Cancellation(), new Cancellation()];
  const large = "x".repeat(4_000_000);
  const first = writeChunk({ res, signal: staying }, large);
  const second = writeChunk({ res, signal: leaving }, "more than it can take");
  leaving.abort();
  expect(await second).toBe(false);
  expect(writeChunk({ res, signal: leaving }, "to nobody")).toBe(false);
  expect(await first).toBe(true);
  await finish({ res, signal: staying });
  expect(await answer).toBe(`${large}more than it can take`);
});
