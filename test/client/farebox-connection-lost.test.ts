import { afterAll, beforeAll, expect, test } from "vitest";
import { FareboxError } from "../../client/farebox.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type DroppingProxy, startDroppingProxy } from "./dropping-proxy.ts";
import { type Customer, openCustomer, transfersOf } from "./farebox-setting.ts";

let shop: Shop;
let proxy: DroppingProxy;
beforeAll(async () => {
  shop = await openShop();
  proxy = await startDroppingProxy(shop.url);
});
afterAll(async () => {
  await proxy.close();
  await shop.close();
});

const customer = (): Promise<Customer> => openCustomer({ ...shop, url: proxy.url });

async function expectPaidOnce(who: Customer, sendings: number, before: number): Promise<void> {
  expect(transfersOf(who, shop)).toBe(1);
  expect(who.signed()).toBe(1);
  const sent = proxy.credentials.slice(before);
  expect(sent).toHaveLength(sendings);
  expect(new Set(sent).size).toBe(1);
  expect(who.farebox.unfinished()).toEqual([]);
}

test("nothing is lost: one call, one payment, and the balance of the chain tells of it", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  expect(await who.farebox.getBalance()).toBe(5_000_000n);
  expect(await who.farebox.agent("Hi")).toMatchObject({ reply: "Hello there!", model: "gpt-test" });
  expect(await who.farebox.getBalance()).toBe(4_980_000n);
  await expectPaidOnce(who, 1, before);
});

test.each(["before it is forwarded", "before the head", "in the body"] as const)(
  "lost %s: the same payment again gets the answer",
  async (phase) => {
    const who = await customer();
    const before = proxy.credentials.length;
    proxy.drop(phase);
    expect(await who.farebox.agent("Hi")).toMatchObject({ reply: "Hello there!" });
    await expectPaidOnce(who, 2, before);
  },
);

test("lost at every phase, one after the other", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  proxy.drop("before it is forwarded", "before the head", "in the body");
  const answer = await who.farebox.chat({ model: "gpt-test", messages: [{ role: "user", content: "Hi" }] });
  expect(answer.choices[0]?.message.content).toBe("Hello there!");
  await expectPaidOnce(who, 4, before);
});

test("lost while it is worked on: 409 payment_in_progress is waited out", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  const settle = shop.facilitator.hold("settle");
  proxy.drop("while it is worked on");
  const busy = who.event("resend", "409 payment_in_progress");
  const answer = who.farebox.agent("Hi");
  await settle.arrived;
  await busy;
  settle.release();
  expect(await answer).toMatchObject({ reply: "Hello there!" });
  await expectPaidOnce(who, proxy.credentials.length - before, before);
});

test.each([
  [
    "the facilitator settles and its answer is lost",
    () => void shop.facilitator.fail("settle", faults.dropAfter),
  ],
  [
    "the facilitator does not answer in time",
    () => void shop.facilitator.fail("settle", faults.slowAnswer(3_000)),
  ],
])("%s: 503 until the chain has decided", async (_what, fault) => {
  const who = await customer();
  const before = proxy.credentials.length;
  fault();
  expect(await who.farebox.agent("Hi")).toMatchObject({ reply: "Hello there!" });
  expect(who.events).toContainEqual(expect.objectContaining({ type: "resend", reason: "503" }));
  await expectPaidOnce(who, proxy.credentials.length - before, before);
});

test("a stream", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  let reply = "";
  for await (const event of who.farebox.agent("Hi", { stream: true })) reply += event.delta ?? "";
  expect(reply).toBe("Hello there!");
  let text = "";
  const chunks = who.farebox.chat({
    model: "gpt-test",
    messages: [{ role: "user", content: "Hi" }],
    stream: true,
  });
  for await (const { choices } of chunks) text += choices[0]?.delta?.content ?? "";
  expect(text).toBe("Hello there!");
  expect([transfersOf(who, shop), who.farebox.unfinished()]).toEqual([2, []]);
  expect(new Set(proxy.credentials.slice(before)).size).toBe(2);
});

test("a stream lost before its head is asked for again; lost later it is resumed with its payment", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  proxy.drop("before the head", "in the body");
  const error = await read(who.farebox.agent("Hi", { stream: true })).catch((fault: unknown) => fault);
  expect(error).toBeInstanceOf(FareboxError);
  expect(error).toMatchObject({ code: "stream_broken" });
  const { payment } = error as FareboxError;
  expect(who.farebox.unfinished()).toEqual([payment]);
  const kept = JSON.parse(JSON.stringify(payment));
  const again = await (await who.farebox.resume(kept)).text();
  expect(again).toContain('"done":true');
  expect(again).toContain("[DONE]");
  await expectPaidOnce(who, 3, before);
});

test.each(["in the body", "in the body, unseen"] as const)(
  "after a stream that broke %s the same call again is the same payment, and the call after it a new one",
  async (phase) => {
    const who = await customer();
    proxy.drop(phase);
    await expect(read(who.farebox.agent("Hi", { stream: true }))).rejects.toMatchObject({
      code: "stream_broken",
    });
    expect(await read(who.farebox.agent("Hi", { stream: true }))).toContainEqual({ delta: "Hello there!" });
    expect(transfersOf(who, shop)).toBe(1);
    await read(who.farebox.agent("Hi", { stream: true }));
    expect(transfersOf(who, shop)).toBe(2);
  },
);

test("aborted while it settles: the payment is kept, and the same call gets its answer", async () => {
  const who = await customer();
  const settle = shop.facilitator.hold("settle");
  const controller = new AbortController();
  const aborted = who.farebox.agent("Hi", { signal: controller.signal });
  await settle.arrived;
  controller.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  expect(who.farebox.unfinished()).toHaveLength(1);
  settle.release();
  expect(await who.farebox.agent("Hi")).toMatchObject({ reply: "Hello there!" });
  expect([transfersOf(who, shop), who.signed(), who.farebox.unfinished()]).toEqual([1, 1, []]);
});

test("aborted and taken over by another process: resume gets the answer", async () => {
  const who = await customer();
  const settle = shop.facilitator.hold("settle");
  const controller = new AbortController();
  const aborted = who.farebox.agent("Hi", { signal: controller.signal });
  await settle.arrived;
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
  settle.release();
  const [payment] = JSON.parse(JSON.stringify(who.farebox.unfinished()));
  const other = await customer();
  const response = await other.farebox.resume(payment);
  expect(await response.json()).toMatchObject({ reply: "Hello there!" });
  expect([transfersOf(who, shop), transfersOf(other, shop)]).toEqual([1, 0]);
});

test("a stream that is left early stops the upstream, and is not kept", async () => {
  const who = await openCustomer(shop);
  const stream = shop.upstream.stream();
  const controller = new AbortController();
  const events = who.farebox.agent("Hi", { stream: true, signal: controller.signal })[Symbol.asyncIterator]();
  const first = events.next();
  await stream.delta("One");
  expect(await first).toEqual({ done: false, value: { delta: "One" } });
  const next = events.next();
  controller.abort(new Error("enough"));
  await expect(next).rejects.toThrow("enough");
  await shop.upstream.waitAborted();
  expect([transfersOf(who, shop), who.farebox.unfinished()]).toEqual([1, []]);
});

async function read<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const event of events) all.push(event);
  return all;
}
