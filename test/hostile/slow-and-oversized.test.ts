import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createForger, type Forger, v2 } from "./forger.ts";
import { type OpenGateway, openGateway } from "./open-gateway.ts";
import { type RawAnswer, rawRequest } from "./raw-request.ts";

const DRIP_EVERY_MS = 10;
const BODY_LIMIT = 1_024;
const BODY = JSON.stringify({ prompt: "Hello" });
const CHAT = JSON.stringify({ model: "gpt-test", messages: [{ role: "user", content: "Hello" }] });

let gateway: OpenGateway;
let forger: Forger;
let before: { upstream: number; verify: number; settle: number };

beforeAll(async () => {
  gateway = await openGateway("limits: { body: 1KiB, headersTimeout: 300ms, requestTimeout: 600ms }");
  forger = await createForger(gateway.rpc.url);
});
beforeEach(() => {
  before = reached();
});
afterAll(() => gateway.close());

/** What got past the gateway. `HEAD /` is how the health check asks whether the upstream is there. */
function reached(): typeof before {
  const { verify, settle } = gateway.facilitator.calls;
  return { upstream: gateway.upstream.calls.filter(({ path }) => path !== "/").length, verify, settle };
}

function nothingServed(): void {
  expect(reached()).toEqual(before);
}

async function pay(path: string, body: string): Promise<Record<string, string>> {
  const call = { method: "POST", headers: { "content-type": "application/json" }, body };
  return v2(await forger.sign(await forger.challenge(gateway.url + path, call)));
}

/** The head of a POST, without the empty line that ends it. */
function head(path: string, headers: Record<string, string>): string {
  const all = Object.entries({ Host: "shop.example", "Content-Type": "application/json", ...headers });
  return [`POST ${path} HTTP/1.1`, ...all.map(([name, value]) => `${name}: ${value}`)].join("\r\n");
}

/** Sends these bytes, then one byte after the other for as long as the server listens. */
async function drip(bytes: string): Promise<RawAnswer> {
  const socket = connect(gateway.port, "127.0.0.1");
  const timer = setInterval(() => socket.write("x"), DRIP_EVERY_MS);
  try {
    socket.write(bytes);
    return await readAll(socket);
  } finally {
    clearInterval(timer);
  }
}

async function readAll(socket: Socket): Promise<RawAnswer> {
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk) => {
    text += chunk;
  });
  // Reset or closed, the end is the same.
  await new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  return { statuses, text };
}

/** One answer that closes the connection, as JSON with its length. */
function errorOf({ statuses, text }: RawAnswer): { status: number | undefined; error: unknown } {
  expect(statuses).toHaveLength(1);
  const [top = "", body = ""] = text.split("\r\n\r\n");
  expect(top).toMatch(/\r\nConnection: close(\r\n|$)/i);
  expect(top).toContain("\r\nContent-Type: application/json; charset=utf-8");
  expect(top).toContain(`\r\nContent-Length: ${Buffer.byteLength(body, "latin1")}`);
  return { status: statuses[0], error: JSON.parse(body).error };
}

const TOO_SLOW = { type: "invalid_request_error", code: "request_timeout", param: null };

describe("too slow", () => {
  test.each([
    ["headers that come byte by byte", `${head("/agent", {})}\r\nX-Slow: `],
    ["a request line that never ends", "GET /"],
  ])("%s: 408", async (_, bytes) => {
    expect(errorOf(await drip(bytes))).toMatchObject({ status: 408, error: TOO_SLOW });
    nothingServed();
  });

  test("a connection that says nothing: 408", async () => {
    const socket = connect(gateway.port, "127.0.0.1");
    expect(errorOf(await readAll(socket))).toMatchObject({ status: 408, error: TOO_SLOW });
  });

  test("a paid call's body: 408, in the mount's dialect, and the payment is not touched", async () => {
    const path = "/api/v1/chat/completions";
    const payment = await pay(path, CHAT);
    const slow = await drip(`${head(path, { ...payment, "Content-Length": "900" })}\r\n\r\n`);
    expect(errorOf(slow)).toMatchObject({ status: 408, error: { code: 408, reason: "request_timeout" } });
    nothingServed();
    const headers = { "content-type": "application/json", ...payment };
    expect((await fetch(gateway.url + path, { method: "POST", headers, body: CHAT })).status).toBe(200);
  });

  test("a body whose rest comes with the 408 is not served after all", async () => {
    const payment = await pay("/agent", BODY);
    const socket = connect(gateway.port, "127.0.0.1");
    const answer = readAll(socket);
    const length = String(BODY.length);
    socket.write(`${head("/agent", { ...payment, "Content-Length": length })}\r\n\r\n${BODY.slice(0, -1)}`);
    socket.once("data", () => socket.write(BODY.slice(-1)));
    expect(errorOf(await answer)).toMatchObject({ status: 408, error: TOO_SLOW });
    // Whatever had begun has got as far as this one, which began later.
    const headers = { "content-type": "application/json", ...(await pay("/agent", BODY)) };
    expect((await fetch(`${gateway.url}/agent`, { method: "POST", headers, body: BODY })).status).toBe(200);
    expect(reached()).toEqual({
      upstream: before.upstream + 1,
      verify: before.verify + 1,
      settle: before.settle + 1,
    });
  });

  test("the body of a call that was answered already: closed, without a second answer", async () => {
    const answer = await drip(`${head("/agent", { "Content-Length": "900" })}\r\n\r\n`);
    expect(answer.statuses).toEqual([402]);
    nothingServed();
  });

  test("an answer may take longer than any request may", async () => {
    const payment = await pay("/agent", BODY);
    const held = gateway.upstream.hold();
    const headers = { "content-type": "application/json", ...payment };
    const paid = fetch(`${gateway.url}/agent`, { method: "POST", headers, body: BODY });
    await held.arrived;
    // Begun later, and over by its time limit while the paid one runs.
    expect((await drip("GET /")).statuses).toEqual([408]);
    expect((await drip(`${head("/agent", { "Content-Length": "900" })}\r\n\r\n`)).statuses).toEqual([402]);
    held.release();
    expect((await paid).status).toBe(200);
  });
});

describe("too large", () => {
  test("headers: 431", async () => {
    const huge = `${head("/agent", { "X-Large": "x".repeat(100_000) })}\r\n\r\n`;
    expect(errorOf(await rawRequest(gateway.port, huge))).toMatchObject({
      status: 431,
      error: { code: "headers_too_large" },
    });
    nothingServed();
  });

  test.each([
    ["announced", { "Content-Length": String(BODY_LIMIT + 1) }, "x".repeat(BODY_LIMIT + 1)],
    ["in chunks", { "Transfer-Encoding": "chunked" }, `401\r\n${"x".repeat(0x401)}\r\n0\r\n\r\n`],
  ])("a paid body, %s: 413, and the payment is not touched", async (_, more, body) => {
    const payment = await pay("/agent", BODY);
    const bytes = `${head("/agent", { ...payment, Connection: "close", ...more })}\r\n\r\n${body}`;
    expect(errorOf(await rawRequest(gateway.port, bytes))).toMatchObject({
      status: 413,
      error: { code: "body_too_large" },
    });
    nothingServed();
    const headers = { "content-type": "application/json", ...payment };
    expect((await fetch(`${gateway.url}/agent`, { method: "POST", headers, body: BODY })).status).toBe(200);
  });

  test.each([
    ["announced", { "Content-Length": String(20 * 0x10000) }, "x".repeat(20 * 0x10000)],
    [
      "in chunks",
      { "Transfer-Encoding": "chunked" },
      `${`10000\r\n${"x".repeat(0x10000)}\r\n`.repeat(20)}0\r\n\r\n`,
    ],
  ])("a paid body far over it, %s: the connection's next request is answered", async (_, more, body) => {
    const payment = await pay("/agent", BODY);
    const next = "GET /healthz HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    const answer = await rawRequest(
      gateway.port,
      `${head("/agent", { ...payment, ...more })}\r\n\r\n${body}${next}`,
    );
    expect(answer.statuses).toEqual([413, 200]);
    nothingServed();
  });

  test("chunk extensions without end: 413", async () => {
    const payment = await pay("/agent", BODY);
    const start = `${head("/agent", { ...payment, "Transfer-Encoding": "chunked" })}\r\n\r\n`;
    const answer = await rawRequest(gateway.port, `${start}2;${"x".repeat(20_000)}\r\nab\r\n`);
    expect(errorOf(answer)).toMatchObject({ status: 413, error: { code: "body_too_large" } });
    nothingServed();
  });
});

describe("no HTTP", () => {
  test("a greeting of another protocol: 400", async () => {
    expect(errorOf(await rawRequest(gateway.port, "EHLO shop.example\r\n\r\n"))).toMatchObject({
      status: 400,
      error: { code: "invalid_request" },
    });
  });

  test("a paid body in broken chunks: 400, and the payment is not touched", async () => {
    const payment = await pay("/agent", BODY);
    const bytes = `${head("/agent", { ...payment, "Transfer-Encoding": "chunked" })}\r\n\r\nno hex\r\n`;
    expect(errorOf(await rawRequest(gateway.port, bytes))).toMatchObject({
      status: 400,
      error: { code: "invalid_request" },
    });
    nothingServed();
  });

  test("behind a call that runs: closed without an answer, which could be read as that call's", async () => {
    const payment = await pay("/agent", BODY);
    const held = gateway.upstream.hold();
    const socket = connect(gateway.port, "127.0.0.1");
    const answer = readAll(socket);
    socket.write(`${head("/agent", { ...payment, "Content-Length": String(BODY.length) })}\r\n\r\n${BODY}`);
    await held.arrived;
    socket.write("no HTTP\r\n\r\n");
    expect((await answer).statuses).toEqual([]);
    await gateway.upstream.waitAborted();
    expect(gateway.facilitator.calls.settle).toBe(before.settle);
  });
});

/** Whether a connection is heard or closed. */
function askHealth(socket: Socket): Promise<"answered" | "closed"> {
  return new Promise((resolve) => {
    socket.on("error", () => undefined).once("close", () => resolve("closed"));
    socket.once("data", () => resolve("answered"));
    socket.write("GET /healthz HTTP/1.1\r\nHost: shop.example\r\n\r\n");
  });
}

test("connections beyond the limit are closed unanswered; when others end there is room again", async () => {
  const small = await openGateway("limits: { connections: 4 }");
  try {
    const sockets = Array.from({ length: 8 }, () => connect(small.port, "127.0.0.1"));
    const outcomes = await Promise.all(sockets.map(askHealth));
    const answered = outcomes.filter((outcome) => outcome === "answered").length;
    // Whoever asked until the gateway was open for business may hold some of them still.
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThanOrEqual(4);
    for (const socket of sockets) socket.destroy();
    const bytes = "GET /healthz HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let statuses: readonly number[] = [];
    while (statuses.length === 0) ({ statuses } = await rawRequest(small.port, bytes));
    expect(statuses).toEqual([200]);
  } finally {
    await small.close();
  }
});
