import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { post, type Stand, startStand } from "./stand.ts";

let stand: Stand;
beforeAll(async () => {
  stand = await startStand();
});
afterAll(() => stand.close());

const BILLING = {
  tier: "x402",
  amount: "0.02",
  currency: "USD",
  transaction: "TransactionId",
  payer: "Payer",
} as const;
const USAGE = { promptTokens: 3, completionTokens: 2, totalTokens: 5 };
const lastCall = () => stand.upstream.calls.at(-1);
const eventsOf = (body: Buffer) =>
  [...body.toString().matchAll(/^data: (.*)\n\n/gm)].map(([, data = ""]) =>
    data === "[DONE]" ? data : JSON.parse(data),
  );

describe("POST /agent", () => {
  it("answers with reply, usage, model, provider and billing", async () => {
    const reply = await post(stand.url, "/agent", { prompt: "Hi", system: "Be brief." });
    expect(reply.status).toBe(200);
    expect(reply.json).toEqual({
      success: true,
      reply: "Hello there!",
      usage: USAGE,
      model: "public/model",
      provider: "main",
      billing: BILLING,
    });
    expect(lastCall()?.json).toEqual({
      model: "internal-model",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Hi" },
      ],
      max_tokens: 100,
    });
  });

  it("streams deltas, then everything else in the last event", async () => {
    const reply = await post(stand.url, "/agent", { prompt: "Hi", stream: true });
    expect(reply.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const events = eventsOf(reply.body);
    const last = events.slice(-2);
    expect(last).toEqual([
      { done: true, usage: USAGE, model: "public/model", provider: "main", billing: BILLING },
      "[DONE]",
    ]);
    expect(
      events
        .slice(0, -2)
        .map(({ delta }) => delta)
        .join(""),
    ).toBe("Hello there!");
    expect(lastCall()?.json["stream_options"]).toEqual({ include_usage: true });
  });

  it.each([false, true])(
    "estimates the usage of an upstream that counts nothing (stream: %s)",
    async (stream) => {
      stand.upstream.next(answers.chat("12345678", null));
      const reply = await post(stand.url, "/agent", { prompt: "12345", stream });
      const { usage } = stream ? eventsOf(reply.body).at(-2) : reply.json;
      const billed = lastCall()?.billed;
      expect(billed).toMatchObject({ promptTokens: 9, completionTokens: 3 });
      expect(usage).toEqual({ promptTokens: 9, completionTokens: 3, totalTokens: 12 });
    },
  );

  it.each<[string, object]>([
    [
      "parts, its thoughts among them",
      {
        content: [
          { type: "thinking", thinking: [] },
          { type: "text", text: "I would rather not." },
        ],
      },
    ],
    ["a refusal", { content: null, refusal: "I would rather not." }],
  ])("gives the text of %s", async (_, said) => {
    const choice = (part: object) => ({ choices: [{ index: 0, ...part, finish_reason: "stop" }] });
    stand.upstream.next(answers.json(200, choice({ message: said })));
    const whole = await post(stand.url, "/agent", { prompt: "Hi" });
    expect([whole.status, whole.json.reply]).toEqual([200, "I would rather not."]);
    const event = `data: ${JSON.stringify(choice({ delta: said }))}\n\n`;
    stand.upstream.next(answers.raw(200, { "Content-Type": "text/event-stream" }, event));
    const stream = await post(stand.url, "/agent", { prompt: "Hi", stream: true });
    expect(stream.status).toBe(200);
    expect(eventsOf(stream.body)[0]).toEqual({ delta: "I would rather not." });
  });

  it.each([false, true])("settles before it says how (stream: %s)", async (stream) => {
    const before = stand.settled;
    const script = stand.upstream.hold();
    const reply = post(stand.url, "/agent", { prompt: "Hi", stream });
    await script.arrived;
    expect(stand.settled).toBe(before);
    script.release(answers.chat("Hi"));
    await reply;
    expect(stand.settled).toBe(before + 1);
  });

  it.each([
    [false, "refused"],
    [true, 'data: {"delta":"Hello"}\n\nrefused'],
  ])("writes nothing more when the settlement failed (stream: %s)", async (stream, expected) => {
    // The paywall answers in our place; a moment later, so that anything written here would come first.
    stand.settle = async (res) => {
      setImmediate(() => res.end("refused"));
      return false;
    };
    stand.upstream.next(answers.chat("Hello"));
    const reply = await post(stand.url, "/agent", { prompt: "Hi", stream });
    stand.settle = async () => true;
    expect(reply.body.toString()).toBe(expected);
  });

  it("names the model that was asked for", async () => {
    const reply = await post(stand.url, "/agent", { prompt: "Hi", model: "same-name" });
    expect(reply.json.model).toBe("same-name");
  });

  it.each([
    ["no prompt", {}, 400, "invalid_request", "`prompt` is required"],
    ["an empty prompt", { prompt: " " }, 400, "invalid_request", "`prompt`"],
    ["a prompt that is no text", { prompt: {} }, 400, "invalid_request", "`prompt`"],
    ["a stream that is no flag", { prompt: "Hi", stream: "yes" }, 400, "invalid_request", "`stream`"],
    ["an unknown model", { prompt: "Hi", model: "nothing" }, 404, "model_not_found", ""],
  ])("%s is refused before anything is claimed", async (_, body, status, code, message) => {
    const before = stand.upstream.calls.length;
    const reply = await post(stand.url, "/agent", body);
    expect([reply.status, reply.json.error.code]).toEqual([status, code]);
    expect(reply.json.error.message).toContain(message);
    expect(stand.upstream.calls).toHaveLength(before);
  });
});
