import { once } from "node:events";
import { createServer } from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { exchange } from "../../facilitator-client/http-exchange.ts";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import { type Dispatcher, Pool } from "../../facilitator-client/http-pool.ts";
import type { Facilitator } from "../../facilitator-client/types.ts";
import { faults, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { startStubFacilitator } from "../support/stub-facilitator.ts";
import { paymentRequest } from "./payment-request.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function connect(url: string, limits: { settleTimeoutMs?: number } = {}): Facilitator {
  const client = createHttpFacilitator({ url, verifyTimeoutMs: 5_000, settleTimeoutMs: 5_000, ...limits });
  cleanups.push(() => client.close());
  return client;
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A TCP server that hands every connection to `serve`, and counts complete requests with a body. */
async function rawServer(serve: (socket: Socket, requests: () => number) => void) {
  const sockets = new Set<Socket>();
  let requests = 0;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
    socket.on("data", (data) => {
      if (data.toString("latin1").startsWith("POST")) requests += 1;
    });
    serve(socket, () => requests);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, requests: () => requests };
}

const REPLY = JSON.stringify({ isValid: true });
const KEPT_ALIVE = `HTTP/1.1 200 OK\r\ncontent-length: ${REPLY.length}\r\n\r\n${REPLY}`;

describe("nothing was sent", () => {
  test("a refused connection", async () => {
    const client = connect(`http://127.0.0.1:${await closedPort()}`);
    const expected = { outcome: "not_sent", reason: "connect_failed:ECONNREFUSED" };
    expect(await client.settle(paymentRequest())).toEqual(expected);
    expect(await client.verify(paymentRequest())).toEqual(expected);
    expect(await client.supported()).toEqual({ outcome: "failed", reason: expected.reason });
  });

  test("a name that does not resolve", async () => {
    const result = await connect("http://facilitator.invalid").settle(paymentRequest());
    expect(result).toMatchObject({ outcome: "not_sent", reason: expect.stringMatching(/^connect_failed:E/) });
  });

  test("a TLS handshake that fails", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(async () => server.close());
    const { port } = server.address() as AddressInfo;
    const result = await connect(`https://127.0.0.1:${port}`).settle(paymentRequest());
    expect(result).toMatchObject({ outcome: "not_sent", reason: expect.stringMatching(/^connect_failed:/) });
  });

  test("a handshake that outlasts the time limit", async () => {
    const { url, requests } = await rawServer(() => undefined);
    const client = connect(url.replace("http:", "https:"), { settleTimeoutMs: 50 });
    expect(await client.settle(paymentRequest())).toEqual({ outcome: "not_sent", reason: "timeout" });
    expect(requests()).toBe(0);
  });

  test("one given up while it waited for a connection is not written when its turn comes", async () => {
    const { url, requests } = await rawServer((socket) => {
      socket.on("data", () => seen());
      answer = () => socket.write(KEPT_ALIVE);
    });
    let answer = () => false;
    let seen: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => {
      seen = resolve;
    });
    const pool = new Pool(url, { connections: 1, pipelining: 1 });
    cleanups.push(() => pool.destroy());
    const send = (timeoutMs: number, signal?: AbortSignal) => {
      const body = Buffer.from("{}");
      return exchange(pool, {
        method: "POST",
        path: "/",
        headers: [],
        body,
        timeoutMs,
        maxBytes: 100,
        signal,
      });
    };
    const first = send(5_000);
    await arrived;
    const leave = new AbortController();
    const late = send(10);
    const left = send(5_000, leave.signal);
    leave.abort();
    expect(await left).toMatchObject({ kind: "failed", sent: false, reason: "cancelled" });
    expect(await late).toMatchObject({ kind: "failed", sent: false, reason: "timeout" });
    answer();
    expect(await first).toMatchObject({ kind: "response", status: 200 });
    const third = send(5_000);
    const queueReached = new Promise<void>((resolve) => {
      seen = resolve;
    });
    await queueReached;
    answer();
    expect(await third).toMatchObject({ kind: "response", status: 200 });
    expect(requests()).toBe(2);
  });

  test("a closed client", async () => {
    const { url } = await rawServer(() => undefined);
    const client = connect(url);
    await client.close();
    expect(await client.settle(paymentRequest())).toEqual({ outcome: "not_sent", reason: "closed" });
  });

  test("authorisation that cannot be had, or does not come in time", async () => {
    const { url, requests } = await rawServer(() => undefined);
    for (const authHeaders of [
      () => Promise.reject(new Error("no key")),
      () => new Promise<never>(() => undefined),
    ]) {
      const client = createHttpFacilitator({ url, verifyTimeoutMs: 50, settleTimeoutMs: 50, authHeaders });
      cleanups.push(() => client.close());
      expect(await client.settle(paymentRequest())).toEqual({ outcome: "not_sent", reason: "unprepared" });
    }
    expect(requests()).toBe(0);
  });

  test("the facilitator goes away between verify and settle", async () => {
    const stub = await startStubFacilitator({ feePayer: "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd" });
    const faulty = await startFaultyFacilitator(stub.url);
    cleanups.push(stub.close, faulty.close);
    const client = connect(faulty.url);
    faulty.fail("verify", faults.thenDown);
    const request = paymentRequest();
    expect(await client.verify(request)).toMatchObject({ outcome: "ok" });
    expect(await client.settle(request)).toEqual({
      outcome: "not_sent",
      reason: "connect_failed:ECONNREFUSED",
    });
    expect(stub.calls).toMatchObject({ verify: 1, settle: 0 });
    await faulty.up();
    expect(await client.settle(request)).toMatchObject({ outcome: "ok" });
  });
});

test("what may have been handled once is not called unsent because the retry was refused", async () => {
  const server = net.createServer((socket) => {
    socket
      .on("error", () => undefined)
      .once("data", () => {
        server.close();
        socket.resetAndDestroy();
      });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  expect(await connect(`http://127.0.0.1:${port}`).verify(paymentRequest())).toEqual({
    outcome: "unknown",
    reason: "connect_failed:ECONNREFUSED",
  });
});

test("a request that the pool would write a second time is given up as possibly handled", async () => {
  const aborted: string[] = [];
  const controller = {
    aborted: false,
    paused: false,
    reason: null,
    abort: (error: Error) => aborted.push(error.message),
    pause: () => undefined,
    resume: () => undefined,
  };
  class Rewriting extends Pool {
    override dispatch(_options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
      handler.onRequestStart?.(controller, undefined);
      handler.onRequestStart?.(controller, undefined);
      return true;
    }
  }
  const body = Buffer.from("{}");
  const request = { method: "POST", path: "/", body, timeoutMs: 5_000, maxBytes: 100 } as const;
  expect(
    await exchange(new Rewriting("http://127.0.0.1"), { ...request, headers: [], signal: undefined }),
  ).toMatchObject({
    kind: "failed",
    sent: true,
  });
  expect(aborted).toEqual(["never written twice"]);
});

test("closing waits for the settle in flight", async () => {
  const stub = await startStubFacilitator({ feePayer: "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd" });
  const faulty = await startFaultyFacilitator(stub.url);
  cleanups.push(stub.close, faulty.close);
  const client = connect(faulty.url);
  const hold = faulty.hold("settle");
  const result = client.settle(paymentRequest());
  await hold.arrived;
  const closed = client.close();
  hold.release();
  expect(await result).toMatchObject({ outcome: "ok" });
  await closed;
});

describe("a kept-alive connection", () => {
  test("is used again", async () => {
    let connections = 0;
    const { url } = await rawServer((socket) => {
      connections += 1;
      socket.on("data", () => socket.write(KEPT_ALIVE));
    });
    const client = connect(url);
    for (let i = 0; i < 9; i += 1)
      expect(await client.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
    // Two, because a connection rests for one turn of the event loop before it is used again.
    expect(connections).toBeLessThanOrEqual(2);
  });

  test.each(["a reset", "an orderly close"])(
    "%s on the second request: settle is unknown and written once",
    async (how) => {
      const { url, requests } = await rawServer((socket, seen) => {
        socket.on("data", () => {
          if (seen() === 1) socket.write(KEPT_ALIVE);
          else if (how === "a reset") socket.resetAndDestroy();
          else socket.end();
        });
      });
      const client = connect(url);
      expect(await client.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
      expect(await client.settle(paymentRequest())).toMatchObject({
        outcome: "unknown",
        reason: expect.stringMatching(/^connection_lost:/),
      });
      expect(requests()).toBe(2);
    },
  );

  test("settles that share a connection that dies: the ones not yet written are written once, the others never again", async () => {
    const seen = new Map<string, number>();
    const { url } = await rawServer((socket) => {
      socket.on("data", (data) => {
        const id = /"id":"(\d+)"/.exec(data.toString("latin1"))?.[1] ?? "none";
        seen.set(id, (seen.get(id) ?? 0) + 1);
        socket.resetAndDestroy();
      });
    });
    const client = connect(url);
    const requests = Array.from({ length: 50 }, (_, i) => ({ ...paymentRequest(), id: String(i) }));
    const results = await Promise.all(requests.map((request) => client.settle(request)));
    for (const result of results) expect(["unknown", "not_sent"]).toContain(result.outcome);
    expect(seen.size).toBeGreaterThan(0);
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
    expect(results.filter(({ outcome }) => outcome === "not_sent").length).toBe(50 - seen.size);
  });
});

test.each(["ftp://x", "nonsense", "http://user:secret@x", "https://x/?key=1"])(
  "%s is not a usable URL",
  (url) => {
    expect(() => connect(url)).toThrow(TypeError);
  },
);

test("the name shows where it is; a base path is kept", async () => {
  const { url } = await rawServer((socket) => {
    socket.on("data", (data) => {
      const [, path] = data.toString("latin1").split(" ");
      const body = JSON.stringify({ isValid: path === "/platform/x402/verify" });
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
  });
  const client = connect(`${url}/platform/x402/`);
  expect(client.name).toBe(`${url}/platform/x402`);
  expect(await client.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
});
