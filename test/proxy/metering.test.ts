import { gzipSync } from "node:zlib";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { answers, type Behaviour } from "../support/model-upstream.ts";
import { CHAT, events, inPieces, PATH, reported, SSE, STOP, STREAM, said, usage } from "./metered-calls.ts";
import { post, type Stand, startStand } from "./stand.ts";

/** What a call is charged is what its meter says: of every form in which upstreams report their usage, or fail to. */
let stand: Stand;
beforeEach(async () => {
  stand = await startStand();
});
afterEach(() => stand.close());

const JSON_TYPE = { "Content-Type": "application/json" };

/** A stream that is cut off right after its last chunk. */
const withoutEnd = events(said("Blue."), { ...STOP, usage: reported(11, 5) }).replace(
  "\n\ndata: [DONE]\n\n",
  "",
);

const lastCall = () => stand.upstream.calls.at(-1);
const reading = async () => stand.meters.at(-1)?.read();

describe("usage that is reported is what counts", () => {
  it.each<[string, object, Behaviour]>([
    ["in JSON", CHAT, answers.chat("Blue.", reported(11, 5))],
    [
      "in JSON behind a byte order mark",
      CHAT,
      answers.raw(
        200,
        JSON_TYPE,
        `\uFEFF${JSON.stringify({ choices: [{ message: { content: "Blue." } }], usage: reported(11, 5) })}`,
      ),
    ],
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
      "in a chunk whose choices are null",
      STREAM,
      answers.raw(200, SSE, events(said("Blue."), STOP, { choices: null, usage: reported(11, 5) })),
    ],
    ["in a last event without a blank line", STREAM, answers.raw(200, SSE, withoutEnd)],
    ["before the half of another event", STREAM, answers.raw(200, SSE, `${withoutEnd}\n\ndata: {"choi`)],
    [
      "before an end with a blank behind it",
      STREAM,
      answers.raw(200, SSE, `${withoutEnd}\n\ndata: [DONE] \n\n`),
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
    expect(await reading()).toEqual({
      begun: true,
      upstreamStatus: 200,
      usage: usage(11, 5),
      estimated: false,
      cost: 26n,
    });
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
      upstreamStatus: 200,
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

describe("half of it is reported: that half counts, beside an estimate of the other", () => {
  const text = "Blue.";
  const wrote = 900;
  it.each<[string, object, Behaviour]>([
    ["a prompt that was cached", CHAT, answers.chat(text, reported(0, wrote))],
    ["a prompt that was cached, in a stream", STREAM, answers.chat(text, reported(0, wrote))],
    [
      "no prompt at all",
      CHAT,
      answers.json(200, { choices: [{ message: { content: text } }], usage: { completion_tokens: wrote } }),
    ],
    [
      "a prompt that makes no sense",
      STREAM,
      answers.raw(
        200,
        SSE,
        events(said(text), STOP, { choices: [], usage: { prompt_tokens: 10.5, completion_tokens: wrote } }),
      ),
    ],
  ])("%s", async (_, body, behaviour) => {
    stand.upstream.next(behaviour);
    expect((await post(stand.url, PATH, body)).status).toBe(200);
    const { promptTokens = 0 } = lastCall()?.billed ?? {};
    expect(await reading()).toEqual({
      begun: true,
      upstreamStatus: 200,
      usage: usage(promptTokens, wrote),
      estimated: true,
      cost: BigInt(promptTokens + 3 * wrote),
    });
  });

  it.each([null, "many", -1])("an output of %j", async (completion_tokens) => {
    const report = { prompt_tokens: 50, completion_tokens, total_tokens: 50 };
    stand.upstream.next(answers.json(200, { choices: [{ message: { content: text } }], usage: report }));
    await post(stand.url, PATH, CHAT);
    expect(await reading()).toMatchObject({ estimated: true, usage: usage(50, countTokens(text)) });
  });

  it("the prompt in the first chunk, the output in the last", async () => {
    const first = said(text, { usage: reported(11, 0) });
    stand.upstream.next(
      answers.raw(200, SSE, events(first, STOP, { choices: [], usage: reported(0, wrote) })),
    );
    await post(stand.url, PATH, STREAM);
    expect(await reading()).toMatchObject({ estimated: false, usage: usage(11, wrote) });
  });

  it("the total alone, of embeddings", async () => {
    stand.upstream.next(answers.json(200, { data: [{ embedding: [1] }], usage: { total_tokens: 40 } }));
    await post(stand.url, "/v1/embeddings", { model: "by/token", input: "a" });
    expect(await reading()).toMatchObject({ estimated: false, usage: usage(40, 0) });
  });

  it("the total alone, of a chat: nobody can tell what of it was read", async () => {
    stand.upstream.next(
      answers.json(200, { choices: [{ message: { content: text } }], usage: { total_tokens: 40 } }),
    );
    await post(stand.url, PATH, CHAT);
    const { promptTokens = 0 } = lastCall()?.billed ?? {};
    expect(await reading()).toMatchObject({ estimated: true, usage: usage(promptTokens, countTokens(text)) });
  });

  it.each([false, true])("and the agent says what is billed (stream: %s)", async (stream) => {
    stand.upstream.next(answers.chat(text, reported(0, wrote)));
    const reply = await post(stand.url, "/agent", { prompt: "Hi", model: "by/token", stream });
    const told = /"usage":(\{[^}]*\})/.exec(reply.body.toString())?.[1] ?? "";
    expect(JSON.parse(told)).toEqual((await reading())?.usage);
    expect(JSON.parse(told)).toMatchObject({ completionTokens: wrote });
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
