import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { type Handler, useStand } from "./stand.ts";
import { closed, deferred, nextText, rawCall, whole, written } from "./wire.ts";

const SSE = { "Content-Type": "text/event-stream; charset=utf-8" };
const NDJSON = { "Content-Type": "application/x-ndjson" };

describe.each(["express", "node"] as const)("streams sold in %s", (kind) => {
  const stand = useStand(kind);

  async function open(
    handler: Handler,
  ): Promise<{ response: IncomingMessage; payment: Record<string, string> }> {
    const sold = stand().sell(handler);
    const payment = await stand().sign(sold.url);
    return { response: await rawCall(sold.url, payment).response, payment };
  }

  const frames = {
    "server-sent events": { head: SSE, frame: (n: number) => `data: {"n":${n}}\n\n` },
    NDJSON: { head: NDJSON, frame: (n: number) => `{"n":${n}}\n` },
  };

  test.each(Object.entries(frames))(
    "%s: each reaches the client before the next is produced",
    async (_name, { head, frame }) => {
      const asked = [0, 1, 2, 3, 4].map(() => deferred());
      const { response, payment } = await open(async (_req, res) => {
        res.writeHead(200, head);
        for (const [n, turn] of asked.entries()) {
          res.write(frame(n));
          // Produces the next one only when the client has this one.
          await turn.promise;
        }
        res.end();
      });
      expect(response.headers["payment-response"]).toBeDefined();
      for (const [n, turn] of asked.entries()) {
        expect(await nextText(response)).toBe(frame(n));
        turn.resolve();
      }
      expect(await nextText(response)).toBe("");
      await stand().reaches(payment, "delivered");
      expect(stand().calls("settle", payment)).toBe(1);
    },
  );

  test("an event cut into bytes opens at its last one", async () => {
    const more = deferred();
    const before = deferred<number>();
    const sold = stand().sell(async (_req, res) => {
      res.writeHead(200, SSE);
      for (const byte of Buffer.from("data: ü\n")) await written(res, Buffer.of(byte));
      before.resolve(stand().calls("settle", payment));
      await written(res, "\n");
      await more.promise;
      res.end();
    });
    const payment = await stand().sign(sold.url);
    const response = await rawCall(sold.url, payment).response;
    expect(await before.promise).toBe(0);
    expect(await nextText(response)).toBe("data: ü\n\n");
    more.resolve();
    expect(await nextText(response)).toBe("");
  });

  test("flushHeaders opens at once, before any event", async () => {
    const more = deferred();
    const { response, payment } = await open(async (_req, res) => {
      res.writeHead(200, SSE);
      res.flushHeaders();
      await more.promise;
      res.end("data: late\n\n");
    });
    expect(response.statusCode).toBe(200);
    expect(stand().row(payment)?.state).toBe("settled");
    more.resolve();
    expect(await nextText(response)).toBe("data: late\n\n");
  });

  test("comments and error frames go out with the first event, and nothing is charged before it", async () => {
    const seen = deferred<number>();
    const sold = stand().sell(async (_req, res) => {
      res.writeHead(200, SSE);
      await written(res, ": keep-alive\n\n");
      await written(res, 'event: error\ndata: "slow"\n\n');
      await written(res, 'data: {"error":{"message":"retrying"}}\n\n');
      seen.resolve(stand().calls("settle", payment));
      await written(res, "data: real\n\n");
      res.end();
    });
    const payment = await stand().sign(sold.url);
    const answer = await whole(rawCall(sold.url, payment));
    expect(await seen.promise).toBe(0);
    expect(answer.body).toMatch(/^: keep-alive\n\nevent: error.*data: real\n\n$/s);
    await stand().reaches(payment, "delivered");
  });

  test.each([
    ["only comments", SSE, ": one\n\n: two\n\n"],
    ["only an error event", SSE, 'event: error\ndata: {"message":"no model"}\n\n'],
    ["only an error object and [DONE]", SSE, 'data: {"error":{"message":"no model"}}\n\ndata: [DONE]\n\n'],
    [
      "the AI SDK's start and its error part",
      SSE,
      'data: {"type":"start","messageId":"m"}\n\ndata: {"type":"start-step"}\n\ndata: {"type":"error","errorText":"no model"}\n\ndata: [DONE]\n\n',
    ],
    [
      "the AI SDK's start and end around an error that its model streamed",
      SSE,
      'data: {"type":"start"}\n\ndata: {"type":"start-step"}\n\ndata: {"type":"text-start","id":"1"}\n\n' +
        'data: {"type":"error","errorText":"no model"}\n\ndata: {"type":"text-end","id":"1"}\n\ndata: {"type":"finish-step"}\n\n' +
        'data: {"type":"finish","finishReason":"error"}\n\ndata: [DONE]\n\n',
    ],
    [
      "an error object and OpenAI's end",
      SSE,
      'data: {"error":{"message":"no model"}}\n\ndata: {"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    ],
    [
      "an error event and the AI SDK's end",
      SSE,
      'event: error\ndata: no model\n\ndata: {"type":"finish"}\n\n',
    ],
    [
      "OpenAI's role and an error object",
      SSE,
      'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\ndata: {"error":{"message":"no model"}}\n\n',
    ],
    [
      "Anthropic's beginning and its error event",
      SSE,
      'event: message_start\ndata: {"type":"message_start","message":{"id":"m","role":"assistant","content":[],"usage":{"input_tokens":9}}}\n\n' +
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n' +
        'event: ping\ndata: {"type":"ping"}\n\n' +
        'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ],
    [
      "OpenAI's response that fails before its output",
      SSE,
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","output":[]}}\n\n' +
        'event: response.in_progress\ndata: {"type":"response.in_progress","sequence_number":1,"response":{"id":"r","status":"in_progress","output":[]}}\n\n' +
        'event: response.failed\ndata: {"type":"response.failed","sequence_number":2,"response":{"id":"r","status":"failed","output":[],"error":{"code":"server_error","message":"no model"}}}\n\n',
    ],
    ["nothing at all", SSE, ""],
    ["an NDJSON error line", NDJSON, '\n{"error":"no model"}\n'],
  ])("a stream of %s passes as it is and costs nothing", async (_name, head, text) => {
    const sold = stand().sell((_req, res) => res.writeHead(200, head).end(text));
    const payment = await stand().sign(sold.url);
    const answer = await whole(rawCall(sold.url, payment));
    expect(answer).toMatchObject({ status: 200, body: text });
    expect(answer.headers["payment-response"]).toBeUndefined();
    expect(await stand().reaches(payment, "released")).toMatchObject({ reason: "stream_without_event" });
    expect(stand().calls("settle", payment)).toBe(0);
  });

  test.each([
    ["an AI SDK's text", 'data: {"type":"start"}\n\ndata: {"type":"text-delta","id":"1","delta":"a"}\n\n'],
    ["an AI SDK's end alone", 'data: {"type":"start"}\n\ndata: {"type":"finish","finishReason":"stop"}\n\n'],
    [
      "an error and what is said after it",
      'data: {"type":"error","errorText":"no model"}\n\ndata: {"type":"text-delta","id":"1","delta":"a"}\n\ndata: {"type":"finish"}\n\n',
    ],
    [
      "an error object and OpenAI's content after it",
      'data: {"error":{"message":"one of two"}}\n\ndata: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
    ],
    ["a start that carries more", 'data: {"type":"start","job":7}\n\n'],
    ["an entry that is called error", 'data: {"type":"error","message":"of a log"}\n\n'],
    [
      "OpenAI's content",
      'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}\n\n',
    ],
    [
      "OpenAI's end",
      'data: {"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    ],
    [
      "Anthropic's text",
      'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n',
    ],
    [
      "Anthropic's use of a tool",
      'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"look_up","input":{}}}\n\n',
    ],
    [
      "OpenAI's response that has output",
      'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"i","output_index":0,"content_index":0,"delta":"a"}\n\n',
    ],
    ["a ping", 'data: {"type":"ping"}\n\n'],
    ["a ping that carries more", 'data: {"type":"start"}\n\ndata: {"type":"ping","ms":7}\n\n'],
    ["words like these", 'data: "start" or "error"\n\n'],
  ])("a stream of %s is sold", async (_name, text) => {
    const sold = stand().sell((_req, res) => res.writeHead(200, SSE).end(text));
    const payment = await stand().sign(sold.url);
    expect(await whole(rawCall(sold.url, payment))).toMatchObject({ status: 200, body: text });
    await stand().reaches(payment, "delivered");
  });

  test("an endless stream is delivered, and ends when its reader leaves", async () => {
    const left = deferred();
    const { response, payment } = await open(async (_req, res) => {
      res.writeHead(200, SSE);
      const gone = closed(res).then(left.resolve);
      while (!res.closed) {
        if (!res.write("data: tick\n\n"))
          await Promise.race([new Promise((go) => res.once("drain", go)), gone]);
        else await new Promise((go) => setImmediate(go));
      }
    });
    expect(await nextText(response)).toContain("data: tick\n\n");
    expect(await nextText(response)).toContain("data: tick\n\n");
    response.destroy();
    await left.promise;
    await stand().reaches(payment, "delivered");
    expect(stand().credits(payment)).toEqual([]);
  });

  test("an endless answer of no streaming type opens when 256 KiB wait", async () => {
    const left = deferred();
    const { response, payment } = await open(async (_req, res) => {
      res.setHeader("Content-Type", "application/octet-stream");
      const gone = closed(res).then(left.resolve);
      const chunk = Buffer.alloc(16_384);
      while (!res.closed) {
        if (!res.write(chunk)) await Promise.race([new Promise((go) => res.once("drain", go)), gone]);
      }
    });
    expect(await nextText(response)).not.toBe("");
    expect(stand().calls("settle", payment)).toBe(1);
    response.destroy();
    await left.promise;
    await stand().reaches(payment, "delivered");
  });
});
