import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { CHAT, events, PATH, reported, SSE, STOP, STREAM, said, usage } from "./metered-calls.ts";
import { post, type Stand, startStand } from "./stand.ts";

/** What is asked of the upstream for the sake of the charge: its usage in every stream, and no more output than is held. */
let stand: Stand;
beforeEach(async () => {
  stand = await startStand();
});
afterEach(() => stand.close());

const SHOWN = { ...STREAM, stream_options: { include_usage: true } };

const lastCall = () => stand.upstream.calls.at(-1);
const reading = async () => stand.meters.at(-1)?.read();

describe("the usage of a stream is always asked for", () => {
  it.each<[string, object, boolean]>([
    ["the caller had not asked: its chunk is taken out again", STREAM, false],
    ["the caller had refused it", { ...STREAM, stream_options: { include_usage: false } }, false],
    ["the caller had asked: it is passed on", SHOWN, true],
  ])("%s", async (_, body, isShown) => {
    const reply = (await post(stand.url, PATH, body)).body.toString();
    expect(lastCall()?.json["stream_options"]).toEqual({ include_usage: true });
    expect(reply.includes('"usage"')).toBe(isShown);
    expect(reply.includes('"choices":[]')).toBe(isShown);
    expect(reply).toMatch(/"finish_reason":"stop".*data: \[DONE\]\n\n$/s);
    expect(await reading()).toMatchObject({ usage: usage(3, 2), estimated: false });
  });

  it("a chunk with usage and choices stays as it came", async () => {
    const chunk = { model: "internal-model", ...said("Blue.", { usage: reported(1, 1) }) };
    stand.upstream.next(answers.raw(200, SSE, events(chunk, STOP)));
    const reply = (await post(stand.url, PATH, STREAM)).body.toString();
    expect(reply).toContain(JSON.stringify({ ...chunk, model: "by/token" }));
  });

  it("a call that does not stream sends no stream options", async () => {
    await post(stand.url, PATH, { ...CHAT, stream_options: { include_usage: true } });
    expect(lastCall()?.json).not.toHaveProperty("stream_options");
  });

  it("a stream of nothing but a role and its usage is no answer", async () => {
    const role = { choices: [{ index: 0, delta: { role: "assistant" } }] };
    stand.upstream.next(answers.raw(200, SSE, events(role, { choices: [], usage: reported(3, 0) })));
    expect((await post(stand.url, PATH, STREAM)).status).toBe(502);
  });
});

describe("a budget", () => {
  const BY_TOKEN = { ...CHAT, model: "long/by-token" };
  it.each([
    ["chat", PATH, BY_TOKEN],
    ["stream", PATH, { ...BY_TOKEN, stream: true }],
    ["agent", "/agent", { prompt: "Tell me of the sea.", model: "long/by-token" }],
    ["agent stream", "/agent", { prompt: "Tell me of the sea.", model: "long/by-token", stream: true }],
  ])("clamps the output that is asked for: %s", async (_, path, body) => {
    await post(stand.url, path, body);
    expect(lastCall()?.json["max_tokens"]).toBe(10_000);
    const { most, least } = stand.quotes.at(-1) ?? { most: 0n, least: 0n };
    expect(most - least).toBe(3n * (10_000n - 256n));
    stand.budget = least + 30n;
    await post(stand.url, path, body);
    expect(lastCall()?.json["max_tokens"]).toBe(266);
    stand.budget = 1n;
    await post(stand.url, path, body);
    expect(lastCall()?.json["max_tokens"]).toBe(1);
  });

  it("changes nothing of what the request asks less of, nor of a flat price", async () => {
    stand.budget = 100_000n;
    await post(stand.url, PATH, { ...BY_TOKEN, max_tokens: 9 });
    expect(lastCall()?.json["max_tokens"]).toBe(9);
    stand.budget = 1n;
    await post(stand.url, PATH, { ...CHAT, model: "by/call" });
    expect(lastCall()?.json["max_tokens"]).toBe(100);
    expect(stand.quotes.at(-1)).toEqual({ most: 7_000n, least: 7_000n });
    expect((await reading())?.cost).toBe(7_000n);
  });
});
