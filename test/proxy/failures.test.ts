import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers, type Behaviour } from "../support/model-upstream.ts";
import { ask, CHAT, post, SECRET_KEY, type Stand, startStand } from "./stand.ts";

const HALF: Behaviour = (_, res) => {
  res.writeHead(200, { "Content-Type": "application/json" });
  res.write("{");
};
const LEAKY = {
  error: {
    message: `No: key ${SECRET_KEY}, Bearer abc.def, sk-proj-0123456789 at http://10.0.0.7:8000/x`,
    type: "invalid_request_error",
    code: "context_length_exceeded",
    param: "messages",
  },
};

const TOO_MANY =
  "The upstream has too many requests now. Nothing was charged; ask again after Retry-After seconds.";

const ROUTES = [
  ["chat", "/v1/chat/completions", CHAT],
  ["chat, numeric dialect", "/api/v1/chat/completions", CHAT],
  ["chat stream", "/v1/chat/completions", { ...CHAT, stream: true }],
  ["embeddings", "/v1/embeddings", { model: "public/model", input: "x" }],
  ["agent", "/agent", { prompt: "Hi" }],
  ["agent stream", "/agent", { prompt: "Hi", stream: true }],
] as const;

const FAILURES: readonly (readonly [string, Behaviour, number, string])[] = [
  ["500", answers.failure(500), 502, "upstream_failed"],
  ["503", answers.failure(503), 502, "upstream_failed"],
  ["401: the operator's key is bad", answers.failure(401), 502, "upstream_failed"],
  ["402: the operator's account is empty", answers.failure(402), 502, "upstream_failed"],
  ["403", answers.failure(403), 502, "upstream_failed"],
  ["a redirect", answers.raw(302, { Location: "/secret" }), 502, "upstream_failed"],
  ["an error inside a 200", answers.errorIn200, 502, "upstream_failed"],
  [
    "HTML with status 200",
    answers.raw(200, { "Content-Type": "text/html" }, "secret"),
    502,
    "upstream_failed",
  ],
  ["an unknown coding", answers.raw(200, { "Content-Encoding": "zstd" }, "secret"), 502, "upstream_failed"],
  ["the connection closed", answers.reset, 502, "upstream_unreachable"],
  ["silence", answers.hang, 504, "upstream_timeout"],
];

describe("a failing upstream", () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await startStand({ headersTimeoutMs: 100, bodyTimeoutMs: 100 });
  });
  afterAll(() => stand.close());

  describe.each(ROUTES)("%s", (_, path, body) => {
    it.each(FAILURES)("%s", async (_name, behaviour, status, code) => {
      stand.upstream.next(behaviour);
      const reply = await post(stand.url, path, body);
      const isNumeric = path.startsWith("/api/v1/");
      expect(reply.status).toBe(status);
      expect(reply.json.error).toMatchObject(
        isNumeric ? { code: status, reason: code } : { code, type: "api_error", param: null },
      );
      expect(`${reply.body}${JSON.stringify(reply.headers)}`).not.toMatch(/secret|sk-live|operator-key/);
      expect(stand.faults.at(-1)).toMatchObject({ code });
    });

    it("a refusal of the request is passed on without secrets", async () => {
      stand.upstream.next(answers.json(429, LEAKY, { "Retry-After": "7", "Set-Cookie": "a=b" }));
      const { status, headers, json } = await post(stand.url, path, body);
      expect([status, headers["retry-after"], headers["set-cookie"]]).toEqual([429, "7", undefined]);
      expect(json.error.message).toBe("No: key [redacted], Bearer [redacted], [redacted] at [redacted]");
      expect(json.error).toMatchObject(
        path.startsWith("/api/v1/")
          ? { code: 429, reason: "context_length_exceeded" }
          : { code: "context_length_exceeded", param: "messages" },
      );
    });
  });

  it.each([
    ["no JSON", answers.raw(400, {}, "<h1>secret</h1>")],
    ["another shape", answers.json(400, { detail: "secret" })],
    ["too large", answers.json(400, { error: { message: "secret".repeat(20_000) } })],
  ])("a refusal that is %s gets our words", async (_, behaviour) => {
    stand.upstream.next(behaviour);
    const { status, json } = await post(stand.url, "/v1/chat/completions", CHAT);
    expect([status, json.error.message]).toEqual([400, "The model refused the request."]);
  });

  it.each([
    ["/v1/chat/completions", CHAT, { error: { message: "Slow down." } }, "Slow down."],
    ["/v1/chat/completions", CHAT, "busy", TOO_MANY],
    ["/api/v1/chat/completions", CHAT, { error: { message: "Slow down." } }, "Slow down."],
  ])("a 429 without a code at %s has ours", async (path, body, answer, message) => {
    stand.upstream.next(answers.json(429, answer));
    const { status, headers, json } = await post(stand.url, path, body);
    expect([status, headers["retry-after"], json.error.message]).toEqual([429, "5", message]);
    const type = "rate_limit_error";
    const code = "upstream_rate_limited";
    expect(json.error).toMatchObject(
      path.startsWith("/api/v1/") ? { code: 429, reason: code, type } : { code, type },
    );
  });

  it.each([
    ["7", "7"],
    ["Fri, 27 Nov 2026 12:00:00 GMT", "Fri, 27 Nov 2026 12:00:00 GMT"],
    ["soon", "5"],
    ["-1", "5"],
  ])("a 429 with Retry-After %s", async (given, sent) => {
    stand.upstream.next(answers.json(429, {}, { "Retry-After": given }));
    const { headers } = await post(stand.url, "/v1/chat/completions", CHAT);
    expect(headers["retry-after"]).toBe(sent);
  });

  it.each([
    ["half a body", answers.halfJson, 502, "upstream_failed"],
    ["half a body, then silence", HALF, 504, "upstream_timeout"],
    ["no choices", answers.json(200, { choices: [] }), 502, "upstream_failed"],
    ["no object", answers.json(200, "secret"), 502, "upstream_failed"],
    [
      "damaged gzip",
      answers.raw(200, { "Content-Type": "application/json", "Content-Encoding": "gzip" }, "no"),
      502,
      "upstream_failed",
    ],
  ])("%s instead of a completion", async (_, behaviour, status, code) => {
    for (const [path, body] of [
      ["/v1/chat/completions", CHAT],
      ["/agent", { prompt: "Hi" }],
    ] as const) {
      stand.upstream.next(behaviour);
      const reply = await post(stand.url, path, body);
      expect([reply.status, reply.json.error.code]).toEqual([status, code]);
    }
  });

  it.each([
    ["a stream that is empty", "data: [DONE]\n\n"],
    [
      "a stream of nothing but a role",
      'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\ndata: [DONE]\n\n',
    ],
  ])("%s is no answer", async (_, events) => {
    stand.upstream.next(answers.raw(200, { "Content-Type": "text/event-stream" }, events));
    const reply = await post(stand.url, "/v1/chat/completions", { ...CHAT, stream: true });
    expect([reply.status, reply.json.error.code]).toEqual([502, "upstream_failed"]);
  });

  it.each([
    ["an answer without text", answers.chat("")],
    ["a stream that ends early", answers.raw(200, { "Content-Type": "text/event-stream" }, ": hi\n\n")],
  ])("the agent sells nothing for %s", async (_, behaviour) => {
    const { settled } = stand;
    stand.upstream.next(behaviour);
    const reply = await post(stand.url, "/agent", { prompt: "Hi", stream: true });
    expect([reply.status, reply.json.error.code]).toEqual([502, "upstream_failed"]);
    expect(stand.settled).toBe(settled);
  });

  it.each([
    [500, 502, "upstream_failed"],
    [503, 502, "upstream_failed"],
    [401, 502, "upstream_failed"],
    [402, 502, "upstream_failed"],
  ])("a forwarded %i is %i", async (upstreamStatus, status, code) => {
    stand.upstream.next(answers.failure(upstreamStatus));
    const reply = await ask(stand.url, "/site");
    expect([reply.status, reply.json.error.code]).toEqual([status, code]);
    expect(reply.body.toString()).not.toContain("secret");
  });

  it.each([
    [answers.hang, 504, "upstream_timeout"],
    [answers.reset, 502, "upstream_unreachable"],
  ])("a forward that is not answered (%#)", async (behaviour, status, code) => {
    stand.upstream.next(behaviour);
    const reply = await ask(stand.url, "/site");
    expect([reply.status, reply.json.error.code]).toEqual([status, code]);
  });

  it("a forward that breaks after the first byte is cut off", async () => {
    stand.upstream.next(answers.halfJson);
    await expect(ask(stand.url, "/site")).rejects.toThrow();
  });
});

describe("an upstream that is not there", () => {
  it("refuses the connection: 502 everywhere", async () => {
    const stand = await startStand();
    await stand.upstream.close();
    for (const [, path, body] of ROUTES) {
      const reply = await post(stand.url, path, body);
      expect(reply.status).toBe(502);
      expect(reply.body.toString()).toContain("upstream_unreachable");
    }
    expect((await ask(stand.url, "/site")).json.error.code).toBe("upstream_unreachable");
    await stand.close();
  });

  it("speaks something else than HTTP: 502 upstream_failed", async () => {
    const server = createServer((socket) => {
      socket.once("data", () => socket.end("SSH-2.0-nonsense\r\n"));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const stand = await startStand({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const reply = await post(stand.url, "/v1/chat/completions", CHAT);
    await stand.close();
    server.close();
    expect([reply.status, reply.json.error.code]).toEqual([502, "upstream_failed"]);
  });
});
