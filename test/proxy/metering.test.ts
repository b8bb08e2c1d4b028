import { once } from "node:events";
import { request, type ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { answers, type Behaviour } from "../support/model-upstream.ts";
import { ask, post, type Stand, startStand } from "./stand.ts";

/** What a call is charged is what its meter says: of every form in which upstreams report their usage, or fail to. */
let stand: Stand;
beforeEach(async () => {
  stand = await startStand();
});
afterEach(() => stand.close());

const PATH = "/v1/chat/completions";
const CHAT = { model: "by/token", messages: [{ role: "user", content: "Tell me of the sea." }] };
const STREAM = { ...CHAT, stream: true };
const SHOWN = { ...STREAM, stream_options: { include_usage: true } };
const SSE = { "Content-Type": "text/event-stream" };
const JSON_TYPE = { "Content-Type": "application/json" };

const lastCall = () => stand.upstream.calls.at(-1);
const reading = async () => stand.meters.at(-1)?.read();
const usage = (promptTokens: number, completionTokens: number) => ({
  promptTokens,
  completionTokens,
  totalTokens: promptTokens + completionTokens,
});
const reported = (prompt_tokens: number, completion_tokens: number) => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});
const said = (content: string, more = {}) => ({ choices: [{ index: 0, delta: { content } }], ...more });
const STOP = { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };
const events = (...values: unknown[]) =>
  `${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join("")}data: [DONE]\n\n`;
/** Split at every byte, each part in a TCP segment of its own. */
const inPieces = (body: string, every: number): Behaviour => {
  return async (_, res) => {
    res.writeHead(200, SSE);
    const bytes = Buffer.from(body);
    for (let at = 0; at < bytes.length; at += every) {
      await new Promise((resolve) => res.write(bytes.subarray(at, at + every), resolve));
    }
    res.end();
  };
};

describe("usage that is reported is what counts", () => {
  it.each<[string, object, Behaviour]>([
    ["in JSON", CHAT, answers.chat("Blue.", reported(11, 5))],
    ["in a stream", STREAM, answers.chat("Blue.", reported(11, 5))],
    [
      "in a stream that is split anywhere",
      STREAM,
      inPieces(events(said("Blé€𝄞"), STOP, { choices: [], usage: reported(11, 5) }), 7),
    ],
    [
      "in a compressed stream",
      STREAM,
      answers.raw(
        200,
        { ...SSE, "Content-Encoding": "gzip" },
        gzipSync(events(said("Blue."), STOP, { choices: [], usage: reported(11, 5) })),
      ),
    ],
    [
      "in compressed JSON",
      CHAT,
      answers.raw(
        200,
        { ...JSON_TYPE, "Content-Encoding": "gzip" },
        gzipSync(JSON.stringify({ choices: [{ message: { content: "Blue." } }], usage: reported(11, 5) })),
      ),
    ],
    [
      "running, in every chunk: the last one",
      STREAM,
      answers.raw(
        200,
        SSE,
        events(
          said("Bl", { usage: reported(11, 1) }),
          said("ue", { usage: reported(11, 2) }),
          said(".", { usage: reported(11, 5) }),
          STOP,
        ),
      ),
    ],
    [
      "with the last chunk that has choices",
      STREAM,
      answers.raw(200, SSE, events(said("Blue."), { ...STOP, usage: reported(11, 5) })),
    ],
    [
      "without the reasoning, which is in the total alone",
      CHAT,
      answers.json(200, {
        choices: [{ message: { content: "Blue." } }],
        usage: { prompt_tokens: 11, completion_tokens: 2, total_tokens: 16 },
      }),
    ],
  ])("%s", async (_, body, behaviour) => {
    stand.upstream.next(behaviour);
    expect((await post(stand.url, PATH, body)).status).toBe(200);
    expect(await reading()).toEqual({ begun: true, usage: usage(11, 5), estimated: false, cost: 26n });
  });

  it.each([
    ["agent", { prompt: "Hi", model: "by/token" }],
    ["agent stream", { prompt: "Hi", model: "by/token", stream: true }],
  ])("%s", async (_, body) => {
    stand.upstream.next(answers.chat("Blue.", reported(11, 5)));
    await post(stand.url, "/agent", body);
    expect(await reading()).toMatchObject({ usage: usage(11, 5), estimated: false, cost: 26n });
  });

  it("embeddings", async () => {
    await post(stand.url, "/v1/embeddings", { model: "by/token", input: ["a", "b"] });
    expect(await reading()).toMatchObject({ usage: { promptTokens: 3 }, estimated: false });
  });
});

describe("none that makes sense is reported: the documented estimate", () => {
  const nonsense = { prompt_tokens: -1, completion_tokens: "many" };
  it.each<[string, object, Behaviour]>([
    ["JSON", CHAT, answers.chat("The sea is blue.", null)],
    ["a stream", STREAM, answers.chat("The sea is blue.", null)],
    [
      "nonsense in JSON",
      CHAT,
      answers.json(200, { choices: [{ message: { content: "The sea is blue." } }], usage: nonsense }),
    ],
    [
      "nonsense in a stream",
      STREAM,
      answers.raw(200, SSE, events(said("The sea is blue."), STOP, { choices: [], usage: nonsense })),
    ],
  ])("%s", async (_, body, behaviour) => {
    stand.upstream.next(behaviour);
    expect((await post(stand.url, PATH, body)).status).toBe(200);
    const { promptTokens = 0, completionTokens = 0 } = lastCall()?.billed ?? {};
    expect(completionTokens).toBe(5);
    expect(await reading()).toEqual({
      begun: true,
      usage: usage(promptTokens, completionTokens),
      estimated: true,
      cost: BigInt(promptTokens + 3 * completionTokens),
    });
  });

  it.each<[string, object]>([
    ["reasoning", { reasoning_content: "Think of the sea. ", content: "It is blue." }],
    [
      "a call of a function",
      { content: null, tool_calls: [{ function: { name: "sea", arguments: '{"a":1}' } }] },
    ],
    ["a refusal", { content: null, refusal: "I would rather not." }],
  ])("%s is produced text", async (_, part) => {
    for (const body of [CHAT, STREAM]) {
      const choice = body === CHAT ? { message: part } : { delta: part };
      const answer = { choices: [{ index: 0, ...choice }] };
      stand.upstream.next(
        body === CHAT ? answers.json(200, answer) : answers.raw(200, SSE, events(answer, STOP)),
      );
      expect((await post(stand.url, PATH, body)).status).toBe(200);
      const completionTokens = lastCall()?.billed.completionTokens ?? 0;
      expect(completionTokens).toBeGreaterThan(3);
      expect(await reading()).toMatchObject({ estimated: true, usage: { completionTokens } });
    }
  });

  it("reasoning under two names counts once, parts and older calls count too", async () => {
    const message = {
      reasoning: "Hello",
      reasoning_content: "Hello",
      content: [{ type: "text", text: " there" }],
      function_call: { name: " again", arguments: " friend" },
    };
    stand.upstream.next(answers.json(200, { choices: [{ message }] }));
    await post(stand.url, PATH, CHAT);
    expect((await reading())?.usage?.completionTokens).toBe(countTokens("Hello there again friend"));
  });
});

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

test("an error frame inside a 200 fails the call, and what follows it is not counted", async () => {
  const script = stand.upstream.stream();
  const reply = post(stand.url, PATH, STREAM);
  await script.raw(
    `data: ${JSON.stringify(said("Blue"))}\n\ndata: {"error":{"message":"no"}}\n\n${events(
      said(" and more"),
      { choices: [], usage: reported(900, 900) },
    )}`,
  );
  await expect(reply).rejects.toThrow();
  expect(stand.faults).toMatchObject([{ code: "upstream_failed" }]);
  expect((await reading())?.usage?.completionTokens).toBe(countTokens("Blue"));
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

describe("a client that leaves", () => {
  async function leave(body: object, untilText: string | undefined): Promise<void> {
    const req = request(`${stand.url}${PATH}`, { method: "POST", agent: false });
    req.on("error", () => {});
    req.end(JSON.stringify(body));
    if (untilText !== undefined) {
      const [res] = await once(req, "response");
      res.on("error", () => {});
      let read = "";
      while (!read.includes(untilText)) read += String((await once(res, "data"))[0]);
    } else await stand.upstream.nextCall();
    req.destroy();
  }

  it("mid-stream leaves what the upstream billed until it was cancelled", async () => {
    const script = stand.upstream.stream();
    const leaving = leave(STREAM, "waves");
    await script.delta("The sea ");
    await script.delta("is full of ");
    await script.delta("waves");
    await leaving;
    const call = await stand.upstream.waitAborted();
    const { promptTokens, completionTokens } = call.billed;
    expect(completionTokens).toBe(countTokens("The sea is full of waves"));
    expect(await reading()).toEqual({
      begun: true,
      usage: usage(promptTokens, completionTokens),
      estimated: true,
      cost: BigInt(promptTokens + 3 * completionTokens),
    });
  });

  it("just before the usage leaves the whole text", async () => {
    const script = stand.upstream.stream();
    const leaving = leave(STREAM, "stop");
    await script.delta("The sea is blue.");
    await script.data(STOP);
    await leaving;
    const { billed } = await stand.upstream.waitAborted();
    expect(await reading()).toMatchObject({ usage: { ...billed } });
  });

  it("in a stream with running usage leaves the last report, and what came after it", async () => {
    const script = stand.upstream.stream();
    const leaving = leave(STREAM, "waves");
    await script.data(said("The sea", { usage: reported(11, 7) }));
    await script.data(said(" waves"));
    await leaving;
    await stand.upstream.waitAborted();
    expect((await reading())?.usage).toEqual(usage(11, 7 + countTokens(" waves")));
  });

  it.each([
    ["chat", CHAT],
    ["stream", STREAM],
  ])("before the head leaves the prompt: %s", async (_, body) => {
    stand.upstream.next(answers.hang);
    await leave(body, undefined);
    const { billed } = await stand.upstream.waitAborted();
    const { promptTokens } = billed;
    expect(promptTokens).toBeGreaterThan(7);
    expect(await reading()).toMatchObject({ begun: true, usage: usage(promptTokens, 0), estimated: true });
  });
});

test.each([
  ["chat", PATH, CHAT],
  ["forward", "/site", {}],
])("nothing has begun while no connection to the upstream could be made: %s", async (_, path, body) => {
  await stand.upstream.close();
  expect((await post(stand.url, path, body)).status).toBe(502);
  expect(await reading()).toMatchObject({ begun: false, cost: 0n });
});

describe("an answer that is charged before its last byte", () => {
  const LARGE = "x".repeat(1_200_000);
  const vectors = { data: [{ embedding: LARGE }], usage: { prompt_tokens: 9, total_tokens: 9 } };
  const completion = { choices: [{ message: { content: LARGE } }], usage: reported(11, 5) };
  const refuse = async (res: ServerResponse) => {
    res.destroy();
    return false;
  };

  it.each<[string, string, object, Behaviour, number]>([
    ["vectors", "/v1/embeddings", { model: "by/token", input: "a" }, answers.json(200, vectors), 9],
    ["a completion", PATH, CHAT, answers.json(200, completion), 11],
  ])(
    "is read for its usage though it is too large to be checked: %s",
    async (_, path, body, behaviour, prompt) => {
      const costs: (bigint | undefined)[] = [];
      stand.chargeBeforeEnd = async () => {
        costs.push((await reading())?.cost);
        return true;
      };
      stand.upstream.next(behaviour);
      const reply = await post(stand.url, path, body);
      expect(reply.body.length).toBeGreaterThan(LARGE.length);
      expect(await reading()).toMatchObject({ estimated: false, usage: { promptTokens: prompt } });
      expect(costs).toEqual([(await reading())?.cost]);
      stand.chargeBeforeEnd = refuse;
      stand.upstream.next(behaviour);
      await expect(post(stand.url, path, body)).rejects.toThrow();
    },
  );

  it("a large completion without usage counts as the most that it could be", async () => {
    stand.upstream.next(answers.json(200, { choices: completion.choices }));
    await post(stand.url, PATH, CHAT);
    expect((await reading())?.cost).toBe(stand.quotes.at(-1)?.most);
  });

  it("usage that a model writes is text", async () => {
    const forged = `"usage": ${JSON.stringify(reported(0, 0))}`;
    stand.upstream.next(
      answers.json(200, { usage: null, choices: [{ message: { content: `${LARGE}${forged}` } }] }),
    );
    await post(stand.url, PATH, CHAT);
    expect((await reading())?.cost).toBe(stand.quotes.at(-1)?.most);
  });

  it("a forward, whose last chunk is kept back", async () => {
    const order: string[] = [];
    stand.chargeBeforeEnd = async () => {
      order.push("charged");
      return true;
    };
    stand.onResponse = (res) => void res.once("finish", () => order.push("finished"));
    stand.upstream.next(answers.raw(200, { "Content-Type": "text/plain" }, "whole"));
    expect((await ask(stand.url, "/site")).body.toString()).toBe("whole");
    expect(order).toEqual(["charged", "finished"]);
    stand.chargeBeforeEnd = refuse;
    stand.upstream.next(answers.raw(200, { "Content-Type": "text/plain" }, "whole"));
    await expect(ask(stand.url, "/site")).rejects.toThrow();
  });

  it("not a forward that streams", async () => {
    stand.chargeBeforeEnd = refuse;
    stand.upstream.next(answers.raw(200, { "Content-Type": "text/event-stream" }, "data: x\n\n"));
    expect((await ask(stand.url, "/site")).body.toString()).toBe("data: x\n\n");
    expect((await reading())?.cost).toBe(20_000n);
  });
});
