import { once } from "node:events";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Dispatcher, Pool } from "../../facilitator-client/http-pool.ts";
import { sendRequest } from "../../server/proxy/upstream-request.ts";

const MIB = 1024 * 1024;

let listener: RequestListener;
let server: Server;
let pool: Pool;
let sent: number;
let asked: number;

/** One connection; a body may stop for so long, ms, or for ever. */
function openPool(bodyTimeout = 0): Pool {
  const { port }: AddressInfo = Object(server.address());
  return new Pool(`http://127.0.0.1:${port}`, { connections: 1, bodyTimeout });
}

beforeEach(async () => {
  sent = 0;
  asked = 0;
  server = createServer((req, res) => {
    asked += 1;
    void listener(req, res);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  pool = openPool();
});
afterEach(async () => {
  await pool.destroy();
  server.closeAllConnections();
  server.close();
});

function send(
  signal = new AbortController().signal,
  headersTimeoutMs = 30_000,
  dispatcher: Dispatcher = pool,
) {
  const onSending = () => {
    sent += 1;
  };
  const request = { path: "/", headers: [], body: null, signal, onSending };
  return sendRequest(dispatcher, { ...request, method: "GET" }, headersTimeoutMs);
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("a body that nobody reads yet stays with its sender, and comes whole when it is read", async () => {
  const chunk = Buffer.alloc(MIB, "x");
  let written = 0;
  listener = async (_req, res) => {
    while (written < 64) {
      written += 1;
      if (!res.write(chunk)) await once(res, "drain");
    }
    res.end();
  };
  const { body } = await send();
  let before = -1;
  while (before !== written) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  // What the two sockets hold.
  expect(written).toBeLessThan(32);
  expect((await readAll(body)).length).toBe(64 * MIB);
});

test("a request that waits for a connection is given up at once, and never sent", async () => {
  const answers: ServerResponse[] = [];
  listener = (_req, res) => void answers.push(res.writeHead(200));
  const first = send();
  const over = new AbortController();
  const second = send(over.signal);
  over.abort();
  await expect(second).rejects.toMatchObject({ code: "upstream_unreachable" });
  await vi.waitFor(() => expect(answers).toHaveLength(1));
  answers[0]?.end("first");
  await readAll((await first).body);
  const third = send();
  await vi.waitFor(() => expect(answers.length).toBeGreaterThan(1));
  answers.at(-1)?.end("third");
  expect((await readAll((await third).body)).toString()).toBe("third");
  expect({ sent, asked }).toEqual({ sent: 2, asked: 2 });
});

test("a signal that was aborted before sends nothing", async () => {
  await expect(send(AbortSignal.abort())).rejects.toMatchObject({ code: "upstream_unreachable" });
  expect(sent).toBe(0);
});

test.each(["breaks off", "discards", "aborts"])("a reader that %s closes the connection", async (how) => {
  const closed = new Promise<void>((resolve) => {
    listener = (_req, res) => {
      res.once("close", resolve);
      res.write("first");
    };
  });
  const over = new AbortController();
  const answer = await send(over.signal);
  if (how === "discards") answer.discard();
  if (how === "aborts") over.abort();
  if (how === "breaks off") for await (const _ of answer.body) break;
  await closed;
  if (how === "aborts") await expect(readAll(answer.body)).rejects.toMatchObject({ code: "upstream_failed" });
});

test("a body that stops for too long, or breaks off, is an error, whatever came before", async () => {
  await pool.destroy();
  pool = openPool(1_000);
  listener = (_req, res) => void res.write("first");
  await expect(readAll((await send()).body)).rejects.toMatchObject({ code: "upstream_timeout" });
  listener = (_req, res) => void res.write("first", () => res.destroy());
  await expect(readAll((await send()).body)).rejects.toMatchObject({ code: "upstream_failed" });
});

test.each([
  ["says nothing", () => {}],
  ["says again and again that it is at work", (res: ServerResponse) => tellOfWork(res)],
])("an upstream that %s and does not begin its answer has a time limit", async (_, behave) => {
  listener = (_req, res) => behave(res);
  await expect(send(undefined, 300)).rejects.toMatchObject({ code: "upstream_timeout" });
});

test("an upstream that said once that it is at work has no more time than others", async () => {
  listener = (_req, res) => res.writeProcessing();
  // Without the dispatcher's own limit, which a 1xx begins anew.
  const patient = pool.compose(
    (dispatch) => (options, handler) => dispatch({ ...options, headersTimeout: 0 }, handler),
  );
  await expect(send(undefined, 300, patient)).rejects.toMatchObject({ code: "upstream_timeout" });
});

test("nor does it lose an answer that has begun", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const begun = new Promise<ServerResponse>((resolve) => {
      listener = (_req, res) => {
        res.writeProcessing();
        res.writeHead(200).flushHeaders();
        resolve(res);
      };
    });
    const { body } = await send();
    vi.advanceTimersByTime(60_000);
    (await begun).end("late");
    expect((await readAll(body)).toString()).toBe("late");
  } finally {
    vi.useRealTimers();
  }
});

function tellOfWork(res: ServerResponse): void {
  if (res.destroyed) return;
  res.writeProcessing();
  setImmediate(tellOfWork, res);
}

test("what is said before the answer is passed over", async () => {
  listener = (_req, res) => {
    res.writeEarlyHints({ link: "</style.css>; rel=preload" });
    res.writeHead(201, { "x-answer": "yes" }).end("whole");
  };
  const { status, headers, body } = await send();
  expect({ status, answer: headers["x-answer"], link: headers["link"] }).toEqual({
    status: 201,
    answer: "yes",
  });
  expect((await readAll(body)).toString()).toBe("whole");
});
