import { once } from "node:events";
import { request, type ServerResponse } from "node:http";
import { countTokens } from "gpt-tokenizer/encoding/o200k_base";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { answers, type Behaviour } from "../support/model-upstream.ts";
import { CHAT, PATH, reported, STOP, STREAM, said, usage } from "./metered-calls.ts";
import { ask, post, type Stand, startStand } from "./stand.ts";

/** A client that leaves pays what the upstream did until it was cancelled; an answer that does not stream is charged before its end. */
let stand: Stand;
beforeEach(async () => {
  stand = await startStand();
});
afterEach(() => stand.close());

const reading = async () => stand.meters.at(-1)?.read();

describe("a client that leaves", () => {
  async function leave(body: object, untilText: string | undefined): Promise<void> {
    const req = request(`${stand.url}${PATH}`, { method: "POST", agent: false });
    req.on("error", () => {});
    req.end(JSON.stringify(body));
    if (untilText !== undefined) {
      const [res] = await once(req, "response");
      res.on("error", () => {});
      let read = "";
      for await (const chunk of res) {
        read += String(chunk);
        if (read.includes(untilText)) break;
      }
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
      upstreamStatus: 200,
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
    [
      "vectors that come after it",
      "/v1/embeddings",
      { model: "by/token", input: "a" },
      answers.json(200, { usage: { prompt_tokens: 900, total_tokens: 900 }, data: vectors.data }),
      900,
    ],
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
