import { expect, test } from "vitest";
import { detectModels } from "../../server/proxy/detect-models.ts";
import { answers, startModelUpstream } from "../support/model-upstream.ts";

test("the models of an OpenAI-compatible server, asked with its key", async () => {
  const upstream = await startModelUpstream();
  upstream.next(answers.json(200, { object: "list", data: [{ id: "one" }, { id: "two" }] }));
  expect(await detectModels(`${upstream.url}/v1`, "a-key", 2_000)).toEqual(["one", "two"]);
  expect(upstream.calls[0]).toMatchObject({ method: "GET", path: "/v1/models" });
  expect(upstream.calls[0]?.headers.authorization).toBe("Bearer a-key");
  await upstream.close();
});

test.each([
  ["not a list", answers.json(200, { models: [] })],
  ["an error", answers.failure(500)],
  ["no JSON", answers.raw(200, {}, "hello")],
])("%s is nobody's list of models", async (_name, behaviour) => {
  const upstream = await startModelUpstream();
  upstream.next(behaviour);
  expect(await detectModels(upstream.url, undefined, 2_000)).toBeUndefined();
  await upstream.close();
});

test("a server that is not there lists nothing", async () => {
  const upstream = await startModelUpstream();
  await upstream.close();
  expect(await detectModels(upstream.url, undefined, 2_000)).toBeUndefined();
});
