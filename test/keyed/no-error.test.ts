import { afterAll, beforeAll, expect, test } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** Some servers write the field into every answer; only what it says tells a failure. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: 'routes: { "POST /stream": { upstream: default, price: "$0.10", tiers: [key] } }\n',
  });
});
afterAll(() => shop.close());

const NOTHING = [false, "", 0, null];

test.each(NOTHING)("a stream whose events say error %j is served and charged", async (error) => {
  for (const [type, body] of [
    ["text/event-stream", `data: ${JSON.stringify({ error, text: "hello" })}\n\n`],
    ["application/x-ndjson", `${JSON.stringify({ error, row: 1 })}\n`],
  ] as const) {
    const customer = await shop.customer(1_000_000n);
    shop.upstream.next(answers.raw(200, { "content-type": type }, body));
    const answer = await fetch(`${shop.url}/stream`, {
      method: "POST",
      headers: customer.headers,
      body: "{}",
    });
    expect([answer.status, await answer.text()]).toEqual([200, body]);
    await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
    expect((await shop.books(customer.account)).balance).toBe(900_000n);
  }
});

test.each(NOTHING)("a completion that says error %j is one", async (error) => {
  const customer = await shop.customer(1_000_000n);
  const completion = {
    error,
    choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
  shop.upstream.next(answers.raw(200, { "content-type": "application/json" }, JSON.stringify(completion)));
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hi"),
  });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "Hi" } }] });
  await expect.poll(async () => (await shop.books(customer.account)).balance).toBe(1_000_000n - 3n);
});

test.each(["overloaded", true, { message: "overloaded" }])("an error of %j costs nothing", async (error) => {
  const customer = await shop.customer(1_000_000n);
  const body = `data: ${JSON.stringify({ error })}\n\n`;
  shop.upstream.next(answers.raw(200, { "content-type": "text/event-stream" }, body));
  const answer = await fetch(`${shop.url}/stream`, { method: "POST", headers: customer.headers, body: "{}" });
  expect(await answer.text()).toBe(body);
  await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
  expect((await shop.books(customer.account)).balance).toBe(1_000_000n);
});
