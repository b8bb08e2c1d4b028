import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ChatEvent, readChatStream } from "../../server/proxy/chat-stream.ts";
import { answers } from "../support/model-upstream.ts";
import { CHAT, post, type Stand, startStand } from "./stand.ts";

let stand: Stand;
beforeEach(async () => {
  stand = await startStand();
});
afterEach(() => stand.close());

const STREAM = { ...CHAT, stream: true };
const STREAMS = [
  ["chat", "/v1/chat/completions", STREAM],
  ["agent", "/agent", { prompt: "Hi", stream: true }],
  ["forward", "/site", {}],
] as const;

/** The answer as soon as its head is here. */
async function open(path: string, body: unknown): Promise<IncomingMessage> {
  const req = request(`${stand.url}${path}`, { method: "POST", agent: false });
  req.on("error", () => {});
  req.end(JSON.stringify(body));
  const [res] = await once(req, "response");
  res.on("error", () => {});
  return res;
}

/** `once` would reject at the error that comes before. */
function closing(res: IncomingMessage): Promise<void> {
  return new Promise((resolve) => res.once("close", resolve));
}

async function readUntil(res: IncomingMessage, text: string): Promise<string> {
  const read: string[] = [];
  let tail = "";
  while (!tail.includes(text)) {
    const chunk: unknown = res.read();
    if (chunk === null) await once(res, "readable");
    else {
      read.push(String(chunk));
      tail = `${tail.slice(-text.length)}${chunk}`;
    }
  }
  return read.join("");
}

describe.each(STREAMS)("%s", (name, path, body) => {
  it("passes each chunk on before the next one is written", async () => {
    const script = stand.upstream.stream();
    void script.delta("first");
    const res = await open(path, body);
    await readUntil(res, "first");
    await script.delta("second");
    const second = await readUntil(res, "second");
    expect(second).not.toContain("first");
    void script.finish();
    await readUntil(res, "[DONE]");
    res.resume();
    await once(res, "end");
  });

  it("cancels the upstream when the client leaves mid-stream", async () => {
    const script = stand.upstream.stream();
    void script.delta("first");
    const res = await open(path, body);
    await readUntil(res, "first");
    res.destroy();
    expect(await stand.upstream.waitAborted()).toBe(await script.arrived);
    expect(stand.faults).toEqual([]);
  });

  it("cancels the upstream when the client leaves before the head", async () => {
    const held = stand.upstream.hold();
    const req = request(`${stand.url}${path}`, { method: "POST", agent: false });
    req.on("error", () => {});
    req.end(JSON.stringify(body));
    const call = await held.arrived;
    req.destroy();
    expect(await stand.upstream.waitAborted()).toBe(call);
    await call.aborted;
  });

  it("breaks the connection when the upstream breaks after the first byte", async () => {
    const script = stand.upstream.stream();
    void script.delta("first");
    const res = await open(path, body);
    await readUntil(res, "first");
    const closed = closing(res);
    await script.breakOff();
    await closed;
    expect(res.complete).toBe(false);
  });

  it("reads no more of the upstream while the reader is slow, and goes on when it is not", async () => {
    const writes: unknown[] = [];
    let openUp = (): void => {};
    const firstWrite = new Promise<void>((resolve) => {
      stand.onResponse = (res) => {
        const { write } = res;
        stand.onResponse = () => {};
        res.write = (chunk: unknown) => {
          writes.push(chunk);
          resolve();
          return false;
        };
        openUp = () => {
          res.write = write;
          res.write(Buffer.concat(writes.map((chunk) => Buffer.from(String(chunk)))));
          res.emit("drain");
        };
      };
    });
    const script = stand.upstream.stream();
    const response = open(path, body);
    await script.delta("first");
    await firstWrite;
    let isFlushed = false;
    const large = `: ${"x".repeat(1_048_576 - 10)}\n\n`;
    const rest = (async () => {
      for (let index = 0; index < 32; index++) await script.raw(large);
      isFlushed = true;
      await script.delta("last");
      await script.finish();
    })();
    // Whole calls on the same event loop: had the stalled stream been read on, its chunks would have come in between.
    for (let index = 0; index < 20; index++) await post(stand.url, "/v1/chat/completions", CHAT);
    expect(writes).toHaveLength(1);
    expect(isFlushed).toBe(false);
    openUp();
    const res = await response;
    await readUntil(res, name === "forward" ? "[DONE]" : "last");
    await rest;
    res.resume();
    await once(res, "end");
  });
});

describe.each(STREAMS.slice(0, 2))("%s", (_, path, body) => {
  it.each([
    ["an error frame", (script: ReturnType<Stand["upstream"]["stream"]>) => script.errorFrame()],
    ["a clean end without a reason to stop", (script) => script.end()],
    ["something that is no chunk", (script) => script.raw("data: secret\n\n")],
    ["an event named error", (script) => script.raw("event: error\ndata: {}\n\n")],
    ["an endless event", (script) => script.raw(`data: ${"x".repeat(1_100_000)}`)],
  ])("%s after the first byte breaks the connection", async (_name, fail) => {
    const script = stand.upstream.stream();
    void script.delta("first");
    const res = await open(path, body);
    await readUntil(res, "first");
    const closed = closing(res);
    void fail(script);
    res.resume();
    await closed;
    expect(res.complete).toBe(false);
    expect(stand.faults).toMatchObject([{ code: "upstream_failed" }]);
  });

  it("an error frame after nothing but a role and comments is a clean 502", async () => {
    const script = stand.upstream.stream();
    const reply = post(stand.url, path, body);
    await script.raw(": working\n\n");
    await script.data({ choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
    await script.errorFrame();
    expect((await reply).status).toBe(502);
  });

  it("an upstream that keeps the connection after [DONE] does not keep the client", async () => {
    const script = stand.upstream.stream();
    const reply = post(stand.url, path, body);
    await script.delta("first");
    await script.raw("data: [DONE]\n\n");
    expect((await reply).body.toString()).toMatch(/data: \[DONE\]\n\n$/);
    await script.end();
  });

  it("an upstream that goes on talking after [DONE] is not listened to for ever", async () => {
    const script = stand.upstream.stream();
    const reply = post(stand.url, path, body);
    await script.delta("first");
    await script.raw("data: [DONE]\n\n");
    expect((await reply).body.toString()).toMatch(/data: \[DONE\]\n\n$/);
    const { aborted } = await script.arrived;
    let isOver = false;
    const over = aborted.then(() => {
      isOver = true;
    });
    while (!isOver) await Promise.race([script.raw(`: ${"x".repeat(65_536)}\n\n`), over]);
    expect(stand.faults).toEqual([]);
  });

  it("a compressed stream is read all the same", async () => {
    stand.upstream.next(answers.gzip("Hello!"));
    const reply = await post(stand.url, path, body);
    expect(reply.headers["content-encoding"]).toBeUndefined();
    expect(reply.body.toString()).toContain("Hello!");
  });
});

it("a stream may be cut anywhere, also within a character", async () => {
  const text = `data: ${JSON.stringify({ choices: [{ delta: { content: "añ€𝄞" } }] })}\r\n\r\ndata: [DONE]\n\n`;
  async function* bytes() {
    for (const byte of Buffer.from(text)) yield Uint8Array.of(byte);
  }
  const headers = { "content-type": "text/event-stream" };
  const events: ChatEvent[] = [];
  await readChatStream({ status: 200, headers, body: bytes(), discard: () => {} }, (some) => {
    events.push(...some);
    return true;
  });
  expect(events).toMatchObject([{ kind: "chunk", chunk: { text: "añ€𝄞" } }, { kind: "done" }]);
});

it("a chat stream is read no further, and given back, once nobody takes its events", async () => {
  let isGivenBack = false;
  async function* bytes() {
    try {
      for (;;) yield Buffer.from(`data: ${JSON.stringify({ choices: [{ delta: { content: "x" } }] })}\n\n`);
    } finally {
      isGivenBack = true;
    }
  }
  const headers = { "content-type": "text/event-stream" };
  const answers = [true, Promise.resolve(true), Promise.resolve(false)];
  let taken = 0;
  await readChatStream(
    { status: 200, headers, body: bytes(), discard: () => {} },
    () => answers[taken++] ?? false,
  );
  expect([taken, isGivenBack]).toEqual([3, true]);
});

it("a chat stream keeps its comments once it has begun, and its events as they were", async () => {
  const script = stand.upstream.stream();
  const reply = post(stand.url, "/v1/chat/completions", { ...STREAM, model: "same-name" });
  const odd = '{"model": "same-name", "big": 12345678901234567890, "choices": [{"delta": {"content": "x"}}]}';
  await script.raw(`data: ${odd}\n\n: still here\n\ndata: [DONE]\n\n`);
  await script.end();
  expect((await reply).body.toString()).toBe(`data: ${odd}\n\n: still here\n\ndata: [DONE]\n\n`);
});

it("a stream that was whole leaves its connection to the next one", async () => {
  for (let index = 0; index < 3; index++) await post(stand.url, "/v1/chat/completions", STREAM);
  expect(new Set(stand.upstream.calls.map(({ connection }) => connection)).size).toBe(1);
  expect(stand.upstream.aborted).toBe(0);
});
