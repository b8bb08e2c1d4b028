import { expect, it } from "vitest";
import { detectOllama } from "../../server/proxy/detect-ollama.ts";
import { createProxy } from "../../server/proxy/proxy.ts";
import { answers, type Behaviour, startModelUpstream } from "../support/model-upstream.ts";
import { startStand } from "./stand.ts";

const TAGS = {
  models: [
    { name: "nomic-embed-text:latest", details: { family: "nomic-bert" } },
    { name: "gpt-oss:20b", details: { family: "gptoss" } },
    { name: "plain" },
  ],
};

it("finds an Ollama and its models, those that chat first", async () => {
  const upstream = await startModelUpstream();
  upstream.next(answers.json(200, TAGS));
  const found = await detectOllama(upstream.url, 5_000);
  await upstream.close();
  expect(found).toEqual({ models: ["gpt-oss:20b", "plain", "nomic-embed-text:latest"] });
  expect(upstream.calls[0]?.path).toBe("/api/tags");
});

it.each([
  ["another server", answers.json(404, { error: "no" })],
  ["another shape", answers.json(200, { models: "many" })],
  ["no JSON", answers.raw(200, {}, "hello")],
  ["too much", answers.json(200, { models: [], more: "x".repeat(2_000_000) })],
  ["silence", answers.hang],
] satisfies [string, Behaviour][])("finds none: %s", async (_, behaviour) => {
  const upstream = await startModelUpstream();
  upstream.next(behaviour);
  const found = await detectOllama(upstream.url, 300);
  await upstream.close();
  expect(found).toBeUndefined();
});

it("finds none where nothing listens", async () => {
  const upstream = await startModelUpstream();
  await upstream.close();
  expect(await detectOllama(upstream.url, 5_000)).toBeUndefined();
});

it("is ready: any answer will do but a server error, and it asks once for many", async () => {
  const stand = await startStand();
  stand.upstream.next(answers.raw(404, {}));
  const both = await Promise.all([stand.proxy.ready(), stand.proxy.ready()]);
  await stand.close();
  expect(both).toEqual(Array(2).fill({ main: true, echo: true }));
  expect(stand.upstream.calls.map(({ method }) => method)).toEqual(["HEAD"]);
  expect(stand.upstream.calls[0]?.headers["authorization"]).toBeUndefined();
});

it("is not ready while the upstream fails, or is not there", async () => {
  const failing = await startStand();
  failing.upstream.next(answers.failure(503));
  expect(await failing.proxy.ready()).toEqual({ main: false, echo: true });
  await failing.close();
  const down = await startStand();
  await down.upstream.close();
  expect(await down.proxy.ready()).toEqual({ main: false, echo: true });
  await down.close();
});

it("refuses to be made of models without an upstream", () => {
  const models = [
    { name: "a", upstream: "none", model: "a", maxOutput: 1, pricing: undefined, imageTokens: 1 },
  ];
  expect(() => createProxy({ upstreams: [], models, defaultModel: "a" })).toThrow("none");
});
