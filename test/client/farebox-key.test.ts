import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Farebox, FareboxError } from "../../client/farebox.ts";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { type DroppingProxy, startDroppingProxy } from "./dropping-proxy.ts";
import { startSeller } from "./seller.ts";

const MODEL = { model: "flat-test", messages: [{ role: "user" as const, content: "Hi" }] };

let shop: KeyedShop;
let proxy: DroppingProxy;
beforeAll(async () => {
  shop = await openKeyedShop();
  proxy = await startDroppingProxy(shop.url);
});
afterAll(async () => {
  await proxy.close();
  await shop.close();
});

async function setUp() {
  const { account, secret } = await shop.customer(1_000_000n, { limit: 500_000n });
  const farebox = new Farebox({ baseUrl: proxy.url, apiKey: secret });
  const charged = async () => (await shop.usageOf(account)).length;
  return { account, secret, farebox, charged };
}

test("nothing is lost: agent, chat, a stream, the SDK, and what is left within the limit", async () => {
  const { farebox, secret, charged } = await setUp();
  expect(await farebox.getBalance()).toBe(500_000n);
  expect(await farebox.agent("Hi", { model: "flat-test" })).toMatchObject({ reply: "Hello there!" });
  expect((await farebox.chat(MODEL)).choices[0]?.message.content).toBe("Hello there!");
  let text = "";
  const chunks = farebox.chat({ ...MODEL, stream: true });
  for await (const { choices } of chunks) text += choices[0]?.delta?.content ?? "";
  expect(text).toBe("Hello there!");
  const client = new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: secret, fetch: farebox.fetch });
  const completion = await client.chat.completions.create(MODEL);
  expect(completion.choices[0]?.message.content).toBe("Hello there!");
  expect(await charged()).toBe(4);
  expect(await farebox.getBalance()).toBe(460_000n);
});

test("the connection drops at every phase: charged once", async () => {
  const { farebox, charged } = await setUp();
  const before = proxy.credentials.length;
  proxy.drop("before it is forwarded", "before the head", "in the body");
  expect((await farebox.chat(MODEL)).choices[0]?.message.content).toBe("Hello there!");
  expect(await charged()).toBe(1);
  expect(await farebox.getBalance()).toBe(490_000n);
  expect(new Set(proxy.credentials.slice(before)).size).toBe(1);
});

test("a stream breaks off: resumed under its Idempotency-Key, charged once, and the error holds no key", async () => {
  const { farebox, secret, charged } = await setUp();
  proxy.drop("in the body");
  const events = farebox.chat({ ...MODEL, stream: true });
  const error = await drain(events).catch((fault: unknown) => fault);
  expect(error).toMatchObject({ code: "stream_broken" });
  const { payment } = error as FareboxError;
  expect(JSON.stringify(payment)).not.toContain(secret);
  if (payment === undefined) throw new Error("no payment");
  expect(await (await farebox.resume(payment)).text()).toContain("[DONE]");
  expect(await charged()).toBe(1);
});

test("a server's refusal is told with its code; the key is not", async () => {
  const farebox = new Farebox({ baseUrl: shop.url, apiKey: "sk_farebox_nobody" });
  const calls = [() => farebox.agent("Hi"), () => farebox.chat(MODEL), () => farebox.getBalance()];
  for (const call of calls) {
    const error = await call().catch((fault: unknown) => fault);
    expect(error).toBeInstanceOf(FareboxError);
    expect(error).toMatchObject({ code: "invalid_api_key", status: 401 });
    expect(JSON.stringify(error) + String(error)).not.toContain("sk_farebox_nobody");
  }
});

test("another host is asked: the key does not go there", async () => {
  const { farebox } = await setUp();
  const other = await startSeller([]);
  await expect(farebox.fetch(`${other.url}/v1/models`)).rejects.toMatchObject({ code: "wrong_origin" });
  expect(other.seen).toEqual([]);
  await other.close();
});

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _event of events);
}
