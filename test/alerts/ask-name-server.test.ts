import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { createNameServerResolve } from "../../server/alerts/ask-name-server.ts";

let server: Socket;
afterEach(() => void server.close());

/** A name server on loopback. `answer` gives the bytes of the one address of this type (1: A, 28: AAAA); undefined: it keeps silent. */
async function open(answer: (type: number) => readonly number[] | undefined): Promise<string> {
  server = createSocket("udp4");
  server.on("message", (query, from) => {
    const question = query.subarray(12, query.indexOf(0, 12) + 5);
    const type = question.readUInt16BE(question.length - 4);
    const address = answer(type);
    if (address === undefined) return;
    const found = address.length > 0;
    const head = Buffer.from([
      ...query.subarray(0, 2),
      0x81,
      found ? 0x80 : 0x83,
      0,
      1,
      0,
      found ? 1 : 0,
      0,
      0,
      0,
      0,
    ]);
    const record = found ? [0xc0, 0x0c, 0, type, 0, 1, 0, 0, 0, 60, 0, address.length, ...address] : [];
    server.send(Buffer.concat([head, question, Buffer.from(record)]), from.port, from.address);
  });
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${server.address().port}`;
}

function resolve(address: string, timeoutMs: number) {
  const ask = createNameServerResolve({ timeoutMs, servers: [address] });
  return new Promise<unknown>((settle) => {
    ask("hooks.example.com", { all: true }, (error, found) => settle(error?.code ?? found));
  });
}

test("both kinds of addresses are found", async () => {
  const at = await open((type) =>
    type === 1 ? [192, 0, 2, 7] : [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  );
  const found = await resolve(at, 5_000);
  expect(found).toHaveLength(2);
  expect(found).toEqual(
    expect.arrayContaining([
      { address: "192.0.2.7", family: 4 },
      { address: "2001:db8::1", family: 6 },
    ]),
  );
});

test("one kind is enough, and a name that nobody has is an error", async () => {
  expect(await resolve(await open((type) => (type === 1 ? [192, 0, 2, 7] : [])), 5_000)).toEqual([
    { address: "192.0.2.7", family: 4 },
  ]);
  server.close();
  expect(await resolve(await open(() => []), 5_000)).toBe("ENOTFOUND");
});

test("however many ask a silent name server, others look names up, and all of them end", async () => {
  const at = await open(() => undefined);
  const order: string[] = [];
  const silent = Promise.all(Array.from({ length: 50 }, () => resolve(at, 500))).then((codes) => {
    order.push("silent");
    return codes;
  });
  await lookup("localhost");
  order.push("localhost");
  expect(new Set(await silent)).toEqual(new Set(["ETIMEOUT"]));
  expect(order).toEqual(["localhost", "silent"]);
});
