import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Customer, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/**
 * The requests that the four model systems print in their pages, with only host and key changed, and the errors that they
 * document, in their shape.
 */
let shop: KeyedShop;
let solrouterIo: Customer;
let solrouterCom: Customer;
let solidrust: Customer;
let searchrouter: Customer;
beforeAll(async () => {
  shop = await openKeyedShop({
    models: `
models:
  openai/gpt-4o-mini: { upstream: default, model: upstream-model, input: "$0.15/1M", output: "$0.60/1M", maxOutput: 16384 }
  "gpt-oss:20b": { upstream: default, model: upstream-model, price: "$0.01" }
  vllm-primary: { upstream: default, model: upstream-model, price: "$0.01" }
defaultModel: gpt-oss:20b
`,
    yaml: "keys: { prefixes: [sr_, sk_solrouter_, sk-srt-, sk-sr-] }\n",
  });
  solrouterIo = await shop.customer(1_000_000n, { label: "my-app-dev" }, "sr_");
  solrouterCom = await shop.customer(1_000_000n, {}, "sk_solrouter_");
  solidrust = await shop.customer(1_000_000n, {}, "sk-srt-");
  searchrouter = await shop.customer(500_000_000n, { label: "production", limit: 100_000_000n }, "sk-sr-");
});
afterAll(() => shop.close());

const messages = [{ role: "user" as const, content: "Hello!" }];

describe("what the pages ask", () => {
  test.each([
    ["solrouter.io", "/ai/chat/completions", "openai/gpt-4o-mini", () => solrouterIo],
    ["solidrust.ai", "/v1/chat/completions", "vllm-primary", () => solidrust],
    ["searchrouter.ai", "/api/v1/chat/completions", "openai/gpt-4o-mini", () => searchrouter],
  ] as const)("%s: curl and fetch at %s", async (_, path, model, customer) => {
    const answer = await fetch(shop.url + path, {
      method: "POST",
      headers: { Authorization: `Bearer ${customer().secret}`, "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }] }),
    });
    expect(answer.status).toBe(200);
    const data = (await answer.json()) as { choices: { message: { content: string } }[]; model: string };
    expect(data.choices[0]?.message.content).toBe("Hello there!");
    expect(data.model).toBe(model);
  });

  test.each([
    ["/ai", "openai/gpt-4o-mini", () => solrouterIo],
    ["/v1", "vllm-primary", () => solidrust],
    ["/api/v1", "openai/gpt-4o-mini", () => searchrouter],
  ] as const)("the OpenAI SDK at %s, whole and streamed", async (mount, model, customer) => {
    const client = new OpenAI({ baseURL: shop.url + mount, apiKey: customer().secret });
    const whole = await client.chat.completions.create({ model, messages });
    expect(whole.choices[0]?.message.content).toBe("Hello there!");
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe("Hello there!");
    const listed = await client.models.list();
    expect(listed.data.map(({ id }) => id)).toContain(model);
    expect(await client.models.retrieve(model)).toEqual(listed.data.find(({ id }) => id === model));
    await expect(client.models.retrieve("openai/none")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test("solrouter.com: curl at /agent", async () => {
    const answer = await fetch(`${shop.url}/agent`, {
      method: "POST",
      headers: { Authorization: `Bearer ${solrouterCom.secret}`, "Content-Type": "application/json" },
      body: '{"prompt": "Hello", "model": "gpt-oss:20b"}',
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      success: true,
      reply: "Hello there!",
      model: "gpt-oss:20b",
      billing: { tier: "key", amount: "0.01", currency: "USD", transaction: null, payer: null },
    });
  });

  test("searchrouter.ai: GET /key", async () => {
    const answer = await fetch(`${shop.url}/api/v1/key`, {
      headers: { Authorization: `Bearer ${searchrouter.secret}` },
    });
    expect(answer.status).toBe(200);
    const key = (await answer.json()) as Record<string, unknown>;
    expect(key).toMatchObject({ label: "production", limit: 100 });
    expect(key["usage"]).toBeGreaterThan(0);
    expect(key["limit_remaining"]).toBeCloseTo(100 - Number(key["usage"]), 6);
    expect(BigInt(String(key["usage_micro_usd"])) + BigInt(String(key["limit_remaining_micro_usd"]))).toBe(
      100_000_000n,
    );
  });
});

test("GET /key without a key says that none was sent", async () => {
  for (const path of ["/v1/key", "/api/v1/key"]) {
    const answer = await fetch(shop.url + path);
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({
      error: { message: "No API key was sent. Send Authorization: Bearer and the key." },
    });
  }
});

describe("the errors that the pages document", () => {
  async function ask(path: string, secret: string, model = "openai/gpt-4o-mini") {
    const answer = await fetch(shop.url + path, {
      method: "POST",
      headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages }),
    });
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  }

  test("401, openai's shape", async () => {
    const { status, headers, body } = await ask("/v1/chat/completions", "sk-srt-your-api-key-here");
    expect(status).toBe(401);
    expect(headers.get("www-authenticate")).toMatch(/^Bearer/);
    expect(body).toMatchObject({
      error: {
        message: "Invalid API key provided",
        type: "authentication_error",
        code: "invalid_api_key",
      },
    });
  });

  test("401, the status mirrored", async () => {
    const { status, body } = await ask("/api/v1/chat/completions", "sk-sr-nonsense");
    expect(status).toBe(401);
    expect(body).toMatchObject({
      error: { code: 401, message: "Invalid API key provided", type: "authentication_error" },
    });
  });

  test("401 for a revoked key, from the next request on, and for no other", async () => {
    const revoked = await shop.keyFor(solidrust.account, {}, "sk-srt-");
    expect((await ask("/v1/chat/completions", revoked.secret)).status).toBe(200);
    await shop.gateway.ledger.revokeKey(revoked.keyId);
    const { status, body } = await ask("/v1/chat/completions", revoked.secret);
    expect(status).toBe(401);
    expect(body).toMatchObject({ error: { type: "authentication_error", code: "invalid_api_key" } });
    expect((await ask("/v1/chat/completions", solidrust.secret)).status).toBe(200);
  });

  test("a key of another service is told which prefix is expected", async () => {
    const { status, body } = await ask("/v1/chat/completions", "sk-proj-abcdefghijklmnopqrstuvwxyz012345");
    expect(status).toBe(401);
    expect(JSON.stringify(body)).toContain("sk-srt-");
  });

  test("402, openai's shape and the status mirrored, naming the purse and what it can bear", async () => {
    const poor = await shop.customer(3n, {}, "sk-sr-");
    const numeric = await ask("/api/v1/chat/completions", poor.secret);
    expect(numeric.status).toBe(402);
    expect(numeric.body).toMatchObject({
      error: { code: 402, type: "insufficient_credits", reason: "insufficient_credits" },
    });
    expect(numeric.body).toMatchObject({
      error: {
        message: expect.stringMatching(/balance does not cover .* \$0\.000003 is affordable/),
        details: { affordable: "0.000003" },
      },
    });
    expect(numeric.headers.get("payment-required")).toBeTruthy();
    const limited = await shop.customer(1_000_000n, { limit: 3n }, "sk-sr-");
    const openai = await ask("/ai/chat/completions", limited.secret);
    expect(openai.status).toBe(402);
    expect(openai.body).toMatchObject({
      error: {
        message: expect.stringMatching(/limit of \$0\.000003 does not cover .* \$0\.000003 is affordable/),
        code: "key_limit_reached",
        type: "insufficient_credits",
        details: { limit: "0.000003" },
      },
    });
  });

  test("403, openai's shape, for a permission, a model and a provider", async () => {
    const narrow = await shop.customer(1_000_000n, { permissions: ["embeddings:read"] }, "sk-srt-");
    const refused = await ask("/v1/chat/completions", narrow.secret);
    expect(refused.status).toBe(403);
    expect(refused.body).toMatchObject({
      error: {
        message: "API key doesn't have permission for this endpoint",
        type: "permission_error",
        code: "insufficient_permissions",
      },
    });
    const model = await shop.customer(1_000_000n, { models: ["vllm-primary"] }, "sk-sr-");
    const refusedModel = await ask("/api/v1/chat/completions", model.secret);
    expect(refusedModel.status).toBe(403);
    expect(refusedModel.body).toMatchObject({ error: { code: 403, type: "permission_error" } });
    const provider = await shop.customer(1_000_000n, { providers: ["elsewhere"] }, "sk-sr-");
    expect((await ask("/api/v1/chat/completions", provider.secret)).body).toMatchObject({
      error: { code: 403, type: "permission_error", reason: "provider_not_allowed" },
    });
    const models = await fetch(`${shop.url}/v1/models`, { headers: narrow.headers });
    expect(models.status).toBe(403);
  });

  test("429, with when to come back", async () => {
    const hasty = await shop.customer(1_000_000n, { rpm: 2 }, "sk-sr-");
    const first = await ask("/api/v1/chat/completions", hasty.secret);
    expect(first.headers.get("ratelimit-limit")).toBe("2");
    expect(first.headers.get("ratelimit-remaining")).toBe("1");
    await ask("/api/v1/chat/completions", hasty.secret);
    const third = await ask("/api/v1/chat/completions", hasty.secret);
    expect(third.status).toBe(429);
    expect(third.body).toMatchObject({ error: { code: 429, type: "rate_limit_error" } });
    expect(Number(third.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(third.headers.get("ratelimit-remaining")).toBe("0");
  });

  test.each([
    [401, OpenAI.AuthenticationError, undefined],
    [402, OpenAI.APIError, { balance: 10n }],
    [403, OpenAI.PermissionDeniedError, { balance: 10n, permissions: ["models:list"] as const }],
    [429, OpenAI.RateLimitError, { balance: 1_000_000n, rpm: 1 }],
  ] as const)("the openai package raises its own error for %i", async (status, type, customer) => {
    const { balance = 0n, ...settings } = customer ?? {};
    const made = await shop.customer(balance, settings, "sk-srt-");
    const apiKey = customer === undefined ? "sk-srt-none" : made.secret;
    const client = new OpenAI({ baseURL: `${shop.url}/v1`, apiKey, maxRetries: 0 });
    const ask = async (): Promise<unknown> =>
      client.chat.completions.create({ model: "openai/gpt-4o-mini", messages });
    if (status === 429) await ask();
    const error = await ask().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ status });
  });
});
