import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ask, CHAT, post, type Reply, type Stand, startStand } from "./stand.ts";

/** More than waits for its reader: a connection whose answer is left unread stays open. */
const LONG = "x".repeat(1_000_000);
const CHAT_ANSWER = JSON.stringify({ choices: [{ message: { content: "Hello" }, finish_reason: "stop" }] });
const EMBEDDINGS_ANSWER = JSON.stringify({ data: [{ embedding: [1] }] });

let raw: Server;
let stand: Stand;
/** What the upstream says, byte for byte. */
let said: string;
/** The connection that the last call came on. */
let closed: Promise<unknown>;

beforeAll(async () => {
  raw = createServer((socket) => {
    const gone = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.on("data", () => {
      closed = gone;
      socket.write(said);
    });
  }).listen(0, "127.0.0.1");
  await once(raw, "listening");
  stand = await startStand({ url: `http://127.0.0.1:${(raw.address() as AddressInfo).port}` });
});
afterAll(async () => {
  await stand.close();
  raw.close();
});
beforeEach(() => {
  stand.onResponse = () => {};
});

function says(headers: readonly string[], body = "body", status = "200 OK"): void {
  const length = headers.some((line) => line.startsWith("Content-Length"))
    ? []
    : [`Content-Length: ${body.length}`];
  said = [`HTTP/1.1 ${status}`, ...headers, ...length, "", body].join("\r\n");
}

const JSON_TYPE = "Content-Type: application/json";
const REPEATED: readonly (readonly [string, readonly string[]])[] = [
  ["Connection", [JSON_TYPE, "Connection: keep-alive", "Connection: keep-alive"]],
  ["Content-Type", [JSON_TYPE, "Content-Type: text/plain"]],
  ["Content-Encoding", [JSON_TYPE, "Content-Encoding: identity", "Content-Encoding: identity"]],
  ["Retry-After", [JSON_TYPE, "Retry-After: 7", "Retry-After: 8"]],
  ["Set-Cookie", [JSON_TYPE, "Set-Cookie: a=b", "Set-Cookie: c=d"]],
];

const CALLS: readonly (readonly [string, string, () => Promise<Reply>])[] = [
  ["forward", "body", () => ask(stand.url, "/site")],
  ["chat", CHAT_ANSWER, () => post(stand.url, "/v1/chat/completions", CHAT)],
  ["agent", CHAT_ANSWER, () => post(stand.url, "/agent", { prompt: "Hi" })],
  [
    "embeddings",
    EMBEDDINGS_ANSWER,
    () => post(stand.url, "/v1/embeddings", { model: "public/model", input: "x" }),
  ],
];

describe.each(CALLS)("%s", (_, body, call) => {
  it.each(REPEATED)("%s twice is served", async (_name, headers) => {
    says(headers, body);
    const reply = await call();
    expect(reply.status).toBe(200);
    expect(reply.headers["content-type"]).toMatch(/^application\/json/);
    expect(reply.body.length).toBeGreaterThan(0);
  });

  it("Content-Length twice is no HTTP", async () => {
    says([JSON_TYPE, `Content-Length: ${body.length}`, `Content-Length: ${body.length}`], body);
    const reply = await call();
    expect([reply.status, reply.json.error.code]).toEqual([502, "upstream_failed"]);
  });
});

describe("an answer that cannot be passed on leaves no connection open", () => {
  it.each(CALLS.slice(1))("%s: it is of another kind", async (_name, _body, call) => {
    says(["Content-Type: text/html"], LONG);
    expect((await call()).status).toBe(502);
    await closed;
  });

  it("forward: writing its head throws", async () => {
    says([], LONG);
    stand.onResponse = (res) => {
      res.writeHead = () => {
        Reflect.deleteProperty(res, "writeHead");
        throw new Error("a fault of ours");
      };
    };
    expect((await ask(stand.url, "/site")).status).toBe(500);
    await closed;
  });
});

it("what either Connection names stays behind", async () => {
  says(["Connection: keep-alive, X-One", "Connection: X-Two", "X-One: 1", "X-Two: 2", "X-Kept: yes"]);
  const { headers } = await ask(stand.url, "/site");
  expect([headers["x-one"], headers["x-two"], headers["x-kept"]]).toEqual([undefined, undefined, "yes"]);
});

it("of what says one thing only the first is passed on, of a list every part", async () => {
  says(["Retry-After: 7", "Retry-After: 8", "Link: <a>", "Link: <b>"], "body", "429 Too Many Requests");
  const { headers } = await ask(stand.url, "/site");
  expect([headers["retry-after"], headers["link"]]).toEqual(["7", "<a>, <b>"]);
});

it("a model's refusal keeps the first Retry-After", async () => {
  says([JSON_TYPE, "Retry-After: 7", "Retry-After: 8"], "{}", "429 Too Many Requests");
  const { status, headers } = await post(stand.url, "/v1/chat/completions", CHAT);
  expect([status, headers["retry-after"]]).toEqual([429, "7"]);
});
