import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { collect, post, type Stand, startStand } from "./stand.ts";

let stand: Stand;
let client: OpenAI;
beforeAll(async () => {
  stand = await startStand();
  client = new OpenAI({ baseURL: `${stand.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => stand.close());

const model = "farebox/echo";
const CHAT = { model, messages: [{ role: "user" as const, content: "Wie geht's, ΩΩ 𝄞?" }] };
const SPOKEN = "[farebox/echo] You said: Wie geht's, ΩΩ 𝄞?";

it("says what it is, and what it was asked", async () => {
  const reply = await client.chat.completions.create(CHAT);
  expect(reply.choices[0]).toMatchObject({ message: { content: SPOKEN }, finish_reason: "stop" });
  expect([reply.model, reply.system_fingerprint]).toEqual([model, model]);
  expect(reply.usage?.total_tokens).toBe(
    (reply.usage?.prompt_tokens ?? 0) + (reply.usage?.completion_tokens ?? 0),
  );
});

it("streams the same text in pieces", async () => {
  const chunks = await collect(await client.chat.completions.create({ ...CHAT, stream: true }));
  expect(chunks.length).toBeGreaterThan(4);
  expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(SPOKEN);
});

it.each([
  ["chat", "/v1/chat/completions", CHAT],
  ["stream", "/v1/chat/completions", { ...CHAT, stream: true }],
  ["embeddings", "/v1/embeddings", { model, input: ["a", "b"] }],
  ["agent", "/agent", { prompt: "Hi", model }],
])("%s: the same request yields the same bytes, another does not", async (_, path, body) => {
  const first = await post(stand.url, path, body);
  const second = await post(stand.url, path, body);
  const other = await post(
    stand.url,
    path,
    JSON.parse(
      JSON.stringify(body).replaceAll(/Wie|"a"|Hi/g, (text) =>
        `${text[0]}${text.slice(1)}`.replace(/\w/, "Z"),
      ),
    ),
  );
  expect(first.status).toBe(200);
  expect(second.body.equals(first.body)).toBe(true);
  expect(other.body.equals(first.body)).toBe(false);
  expect(stand.upstream.calls).toHaveLength(0);
});

it("stops at the output limit", async () => {
  const reply = await client.chat.completions.create({ ...CHAT, max_tokens: 2 });
  expect(reply.choices[0]).toMatchObject({
    message: { content: "[farebox/echo] " },
    finish_reason: "length",
  });
});

it("gives unit vectors of the length asked for, as floats and as base64", async () => {
  const encoded = await client.embeddings.create({ model, input: "a", dimensions: 8 });
  const floats = await client.embeddings.create({
    model,
    input: "a",
    dimensions: 8,
    encoding_format: "float",
  });
  const [vector = []] = floats.data.map(({ embedding }) => embedding);
  expect(encoded.data[0]?.embedding).toEqual(vector);
  expect(vector).toHaveLength(8);
  expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
});

it("is named as the provider by the agent", async () => {
  const { json } = await post(stand.url, "/agent", { prompt: "Hi", model });
  expect(json).toMatchObject({ reply: "[farebox/echo] You said: Hi", provider: model, model });
});
