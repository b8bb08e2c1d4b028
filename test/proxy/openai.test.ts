import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { ask, CHAT, collect, post, SECRET_KEY, type Stand, startStand } from "./stand.ts";

let stand: Stand;
let client: OpenAI;
beforeAll(async () => {
  stand = await startStand();
  client = new OpenAI({ baseURL: `${stand.url}/v1`, apiKey: "callers-key", maxRetries: 0 });
});
afterAll(() => stand.close());

const lastCall = () => stand.upstream.calls.at(-1);
const MESSAGES = [{ role: "user" as const, content: "Hi" }];

describe("the official client", () => {
  it("chat", async () => {
    const reply = await client.chat.completions.create({ model: "public/model", messages: MESSAGES });
    expect(reply.choices[0]?.message.content).toBe("Hello there!");
    expect(reply.model).toBe("public/model");
    expect(lastCall()?.json["model"]).toBe("internal-model");
    expect(lastCall()?.path).toBe("/v1/chat/completions");
  });

  it("stream", async () => {
    const stream = await client.chat.completions.create({
      model: "public/model",
      messages: MESSAGES,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Hello there!");
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(["public/model"]));
    expect(chunks.at(-1)?.usage?.total_tokens).toBe(5);
  });

  it("embeddings", async () => {
    const reply = await client.embeddings.create({ model: "public/model", input: ["a", "b"] });
    expect(reply.data.map(({ embedding }) => embedding)).toEqual([
      [0.25, -0.5, 1],
      [0.25, -0.5, 1],
    ]);
    expect(lastCall()?.json).toMatchObject({ model: "internal-model", encoding_format: "base64" });
  });

  it("list of models, with prices", async () => {
    const models = await collect(await client.models.list());
    expect(models.map(({ id }) => id).slice(0, 3)).toEqual(["public/model", "same-name", "farebox/echo"]);
    expect(models[0]).toMatchObject({
      object: "model",
      owned_by: "main",
      max_output_tokens: 100,
      pricing: { currency: "USD", unit: "call", chat: "0.02", embeddings: "0.002" },
    });
    expect(models[2]?.owned_by).toBe("farebox/echo");
    const pricing = Object.fromEntries(
      models.map((model) => [model.id, "pricing" in model && model.pricing]),
    );
    expect(pricing["by/token"]).toEqual({
      currency: "USD",
      unit: "token-million",
      input: "1.00",
      output: "3.00",
    });
    expect(pricing["by/call"]).toEqual({ currency: "USD", unit: "call", chat: "0.007", embeddings: "0.007" });
  });

  it("an error is what it knows", async () => {
    const call = client.chat.completions.create({ model: "nothing", messages: MESSAGES });
    await expect(call).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });
});

it("sends the operator's key and nothing of the caller's", async () => {
  await post(stand.url, "/v1/chat/completions", CHAT, {
    Authorization: "Bearer callers",
    "OpenAI-Organization": "callers",
    "Accept-Encoding": "gzip, br",
    "X-Anything": "callers",
    Cookie: "callers=1",
  });
  const { "content-length": length, ...headers } = lastCall()?.headers ?? {};
  expect(headers).toEqual({
    host: new URL(stand.upstream.url).host,
    connection: "keep-alive",
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "accept-encoding": "identity",
    "user-agent": "farebox",
    authorization: `Bearer ${SECRET_KEY}`,
  });
  expect(Number(length)).toBe(lastCall()?.body.length);
});

const FUNCTION = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const CHOICE = { type: "function", function: { name: "f" } };
const IMAGE = { type: "image_url", image_url: { url: "data:image/png;base64,AA==", detail: "low" } };

describe("fields that cost", () => {
  it.each([
    ["no limit", {}, { max_tokens: 100 }],
    ["a smaller limit", { max_tokens: 7 }, { max_tokens: 7 }],
    ["a larger limit", { max_tokens: 1_000_000 }, { max_tokens: 100 }],
    ["the newer limit", { max_completion_tokens: 9 }, { max_tokens: 9 }],
    ["a larger newer limit", { max_completion_tokens: 999 }, { max_tokens: 100 }],
    ["both limits", { max_tokens: 50, max_completion_tokens: 9 }, { max_tokens: 9 }],
    ["a null limit", { max_tokens: null, n: null, stop: null }, { max_tokens: 100 }],
    ["many choices", { n: 5 }, { n: 1, max_tokens: 100 }],
    ["a known effort", { reasoning_effort: "low" }, { reasoning_effort: "low", max_tokens: 100 }],
    ["an unknown effort", { reasoning_effort: "max" }, { max_tokens: 100 }],
    [
      "free fields",
      { temperature: 0, seed: 7, stop: ["a"] },
      { temperature: 0, seed: 7, stop: ["a"], max_tokens: 100 },
    ],
    [
      "functions",
      { tools: [FUNCTION], tool_choice: CHOICE },
      { tools: [FUNCTION], tool_choice: CHOICE, max_tokens: 100 },
    ],
    ["billed tools", { tools: [{ type: "web_search" }], tool_choice: "auto" }, { max_tokens: 100 }],
    [
      "both kinds of tools",
      { tools: [{ type: "web_search" }, FUNCTION], tool_choice: { type: "web_search" } },
      { tools: [FUNCTION], max_tokens: 100 },
    ],
    [
      "billed options",
      { web_search_options: {}, plugins: [], service_tier: "priority" },
      { max_tokens: 100 },
    ],
    ["other models", { models: ["dear"], route: "fallback", provider: {} }, { max_tokens: 100 }],
    [
      "budgets",
      { reasoning: { effort: "max" }, thinking: {}, options: { num_ctx: 1e6 } },
      { max_tokens: 100 },
    ],
    ["an own prototype", '"__proto__":{"n":9},"constructor":{}', { max_tokens: 100 }],
  ])("%s", async (_, fields, expected) => {
    const text =
      typeof fields === "string"
        ? `{${fields},${JSON.stringify(CHAT).slice(1)}`
        : JSON.stringify({ ...CHAT, ...fields });
    expect((await post(stand.url, "/v1/chat/completions", text)).status).toBe(200);
    expect(lastCall()?.json).toEqual({ model: "internal-model", messages: MESSAGES, ...expected });
  });

  it("the output limit goes into the field that the server heeds", async () => {
    const { createHttpUpstream } = await import("../../server/proxy/upstream.ts");
    const options = {
      name: "x",
      url: "",
      apiKey: undefined,
      takesOwnKeys: false,
      headersTimeoutMs: 1,
      bodyTimeoutMs: 1,
    };
    const fieldOf = (url: string) => createHttpUpstream(options, url).outputLimitField;
    expect(fieldOf("https://api.openai.com/v1")).toBe("max_completion_tokens");
    expect(fieldOf("https://shop.openai.azure.com/openai")).toBe("max_completion_tokens");
    expect(fieldOf("http://127.0.0.1:11434")).toBe("max_tokens");
    expect(fieldOf("https://api.openai.com.example")).toBe("max_tokens");
  });

  it("messages keep what belongs to them, and nothing else", async () => {
    const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } };
    const kept = [
      { role: "user", content: [{ type: "text", text: "what is it?" }, IMAGE] },
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", content: "1", tool_call_id: "c" },
    ];
    const messages = kept.map((message) => ({ ...message, cache_control: {}, audio: { id: "a" } }));
    await post(stand.url, "/v1/chat/completions", { ...CHAT, messages });
    expect(lastCall()?.json["messages"]).toEqual(kept);
  });
});

const chatWith = (fields: object) => JSON.stringify({ ...CHAT, ...fields });
const partsOf = (...content: unknown[]) => chatWith({ messages: [{ role: "user", content }] });

it("a byte order mark in front of the JSON is no part of it", async () => {
  const reply = await ask(stand.url, "/v1/chat/completions", {
    method: "POST",
    body: `\uFEFF${JSON.stringify(CHAT)}`,
  });
  expect(reply.status).toBe(200);
});

describe("refused before anything is claimed", () => {
  it.each([
    ["nothing", "", 400, "invalid_json", ""],
    ["no JSON", "{", 400, "invalid_json", ""],
    ["no UTF-8", Buffer.from([0x22, 0xff, 0x22]), 400, "invalid_json", ""],
    ["no object", "[]", 400, "invalid_request", "object"],
    ["too deep", `{"messages":${"[".repeat(100_000)}`, 400, "invalid_request", "deep"],
    ["no model", JSON.stringify({ messages: MESSAGES }), 400, "invalid_request", "`model` is required"],
    ["no messages", '{"model":"public/model"}', 400, "invalid_request", "`messages` is required"],
    ["an empty list", chatWith({ messages: [] }), 400, "invalid_request", "`messages`"],
    ["an unknown role", chatWith({ messages: [{ role: "x" }] }), 400, "invalid_request", "`messages.0.role`"],
    ["a wrong type", chatWith({ temperature: "hot" }), 400, "invalid_request", "`temperature`"],
    ["a limit of zero", chatWith({ max_tokens: 0 }), 400, "invalid_request", "`max_tokens`"],
    ["a fraction", chatWith({ n: 1.5 }), 400, "invalid_request", "`n`"],
    ["audio", partsOf({ type: "input_audio" }), 400, "invalid_request", "`messages.0.content.0.type`"],
    ["17 images", partsOf(...Array(17).fill(IMAGE)), 400, "invalid_request", "images"],
    [
      "an image to be fetched",
      partsOf({ type: "image_url", image_url: { url: "http://169.254.169.254/" } }),
      400,
      "invalid_request",
      "data: URLs only",
    ],
    ["an unknown model", chatWith({ model: "internal-model" }), 404, "model_not_found", "/v1/models"],
    ["a model named like a member", chatWith({ model: "__proto__" }), 404, "model_not_found", ""],
  ])("%s", async (_, body, status, code, message) => {
    const before = stand.upstream.calls.length;
    const reply = await ask(stand.url, "/v1/chat/completions", { method: "POST", body });
    expect([reply.status, reply.json.error.code]).toEqual([status, code]);
    expect(reply.json.error.message).toContain(message);
    expect(stand.upstream.calls).toHaveLength(before);
  });

  it.each([
    ["no input", {}, "`input` is required"],
    ["no texts", { input: [] }, "`input`"],
    ["too many", { input: Array(2_049).fill("x") }, "`input`"],
  ])("embeddings of %s", async (_, fields, message) => {
    const reply = await post(stand.url, "/v1/embeddings", { model: "public/model", ...fields });
    expect([reply.status, reply.json.error.code]).toEqual([400, "invalid_request"]);
    expect(reply.json.error.message).toContain(message);
  });

  it("a compressed body", async () => {
    const reply = await post(stand.url, "/v1/chat/completions", CHAT, { "Content-Encoding": "gzip" });
    expect([reply.status, reply.json.error.code]).toEqual([400, "invalid_request"]);
  });
});

describe("answers", () => {
  it("stay byte for byte where no name must be changed", async () => {
    const odd = '{"model": "same-name", "big": 12345678901234567890, "choices": [{"index":0}]}';
    stand.upstream.next(answers.raw(200, { "Content-Type": "application/json; charset=utf-8" }, odd));
    const reply = await post(stand.url, "/v1/chat/completions", { ...CHAT, model: "same-name" });
    expect(reply.body.toString()).toBe(odd);
    expect(reply.headers["content-length"]).toBe(String(odd.length));
  });

  it("carry none of the upstream's headers", async () => {
    const headers = { "OpenAI-Organization": "operator", "Set-Cookie": "a=b", "X-Anything": "1" };
    stand.upstream.next(answers.json(200, { choices: [{}] }, headers));
    const reply = await post(stand.url, "/v1/chat/completions", CHAT);
    expect(Object.keys(reply.headers).sort()).toEqual([
      "connection",
      "content-length",
      "content-type",
      "date",
    ]);
  });

  it("that are compressed are read all the same", async () => {
    stand.upstream.next(answers.gzip("Hello!"));
    const reply = await post(stand.url, "/v1/chat/completions", CHAT);
    expect(reply.json.choices[0].message.content).toBe("Hello!");
  });

  it("larger than what is checked pass unread", async () => {
    const data = Array(3_000).fill({ embedding: Array(100).fill(0.125) });
    stand.upstream.next(answers.json(200, { model: "internal-model", data }));
    const reply = await post(stand.url, "/v1/embeddings", { model: "public/model", input: "x" });
    expect(reply.json.data).toEqual(data);
    expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
  });
});
