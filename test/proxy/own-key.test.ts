import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { ask, CHAT, post, SECRET_KEY, type Stand, startStand } from "./stand.ts";

/** A customer's own key at the provider goes to that provider, and to nobody else. */
const OWN_KEY = "sk-customers-own-4711";

let stand: Stand;
beforeAll(async () => {
  stand = await startStand();
});
beforeEach(() => {
  stand.upstreamKey = OWN_KEY;
});
afterAll(() => stand.close());

const lastCall = () => stand.upstream.calls.at(-1);

const MODEL_ROUTES = [
  ["chat", "/v1/chat/completions", CHAT],
  ["chat stream", "/v1/chat/completions", { ...CHAT, stream: true }],
  ["embeddings", "/v1/embeddings", { model: "public/model", input: "x" }],
  ["agent", "/agent", { prompt: "Hi" }],
] as const;
const ROUTES = [...MODEL_ROUTES, ["forward", "/site", {}]] as const;

describe.each(ROUTES)("%s", (_, path, body) => {
  it("goes out on it, in the place of the operator's", async () => {
    expect((await post(stand.url, path, body)).status).toBe(200);
    expect(lastCall()?.headers["authorization"]).toBe(`Bearer ${OWN_KEY}`);
    stand.upstreamKey = undefined;
    await post(stand.url, path, body);
    expect(lastCall()?.headers["authorization"]).toBe(`Bearer ${SECRET_KEY}`);
  });

  it.each(path === "/site" ? [401, 402, 407] : [401, 402, 403])(
    "says that it is unusable when the provider answers %i",
    async (status) => {
      stand.upstream.next(answers.failure(status));
      const reply = await post(stand.url, path, body);
      expect([reply.status, reply.json.error.code]).toEqual([503, "provider_key_unusable"]);
      expect(reply.body.toString()).not.toMatch(/secret|sk-/);
    },
  );
});

it.each(MODEL_ROUTES)("is in no refusal that is passed on: %s", async (_, path, body) => {
  stand.upstreamKey = "plain words for a key";
  const message = "The key plain words for a key is at its limit";
  stand.upstream.next(answers.json(429, { error: { message } }));
  const reply = await ask(stand.url, path, { method: "POST", body: JSON.stringify(body) });
  expect(reply.json.error.message).toBe("The key [redacted] is at its limit");
});
