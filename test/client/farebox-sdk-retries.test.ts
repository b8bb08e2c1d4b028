import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type DroppingProxy, startDroppingProxy } from "./dropping-proxy.ts";
import { type Customer, openCustomer, transfersOf } from "./farebox-setting.ts";
import { DECLARATION, fail, OPTION, startSeller } from "./seller.ts";

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

const customer = (options = {}): Promise<Customer> => openCustomer({ ...shop, url: proxy.url }, options);
const MODEL = { model: "gpt-test", messages: [{ role: "user" as const, content: "Hi" }] };

/** As docs/client.md says, with the retries that the SDK has by default. */
function sdk({ farebox }: Customer, options: ConstructorParameters<typeof OpenAI>[0] = {}): OpenAI {
  return new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: "unused", fetch: farebox.fetch, ...options });
}

test("nothing fails: a completion and a stream, one payment each", async () => {
  const who = await customer();
  const answer = await sdk(who).chat.completions.create(MODEL);
  expect(answer.choices[0]?.message.content).toBe("Hello there!");
  expect(transfersOf(who, shop)).toBe(1);
  const stream = await sdk(who).chat.completions.create({ ...MODEL, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe("Hello there!");
  expect([transfersOf(who, shop), who.signed()]).toEqual([2, 2]);
});

test("the connection drops and the facilitator's answer is lost: one payment", async () => {
  const who = await customer();
  shop.facilitator.fail("settle", faults.dropAfter);
  proxy.drop("before it is forwarded", "before the head");
  const answer = await sdk(who).chat.completions.create(MODEL);
  expect(answer.choices[0]?.message.content).toBe("Hello there!");
  expect([transfersOf(who, shop), who.signed()]).toEqual([1, 1]);
});

test("the SDK loses patience while it settles: its retry sends the same payment", async () => {
  const who = await customer();
  const before = proxy.credentials.length;
  const settle = shop.facilitator.hold("settle");
  const impatient = sdk(who, { timeout: 1_000, maxRetries: 20 });
  const answer = impatient.chat.completions.create(MODEL);
  await settle.arrived;
  await who.event("resend", "409 payment_in_progress");
  settle.release();
  expect((await answer).choices[0]?.message.content).toBe("Hello there!");
  expect([transfersOf(who, shop), who.signed()]).toEqual([1, 1]);
  expect(new Set(proxy.credentials.slice(before)).size).toBe(1);
});

test("this client gives up and the SDK does not: its retry sends the same payment", async () => {
  const who = await customer({ maxAttempts: 1 });
  proxy.drop("before the head", "before the head");
  const answer = await sdk(who).chat.completions.create(MODEL);
  expect(answer.choices[0]?.message.content).toBe("Hello there!");
  expect([transfersOf(who, shop), who.signed(), who.farebox.unfinished()]).toEqual([1, 1, []]);
});

test.each([
  [409, "payment_credited"],
  [409, "response_not_stored"],
  [402, "payment_refused"],
  [502, "upstream_failed"],
])("%i %s, which the SDK might retry: no second payment", async (status, code) => {
  const extra = { feePayer: shop.localnet.feePayer, memo: "a-memo" };
  const accepts = [{ ...OPTION, payTo: shop.localnet.merchant, extra }];
  const seller = await startSeller([fail(status, code)], { ...DECLARATION, accepts });
  const who = await customer();
  const asked = sdk(who, { baseURL: seller.url }).chat.completions.create(MODEL);
  await expect(asked).rejects.toMatchObject({ status, code });
  expect([who.signed(), new Set(seller.payments()).size]).toEqual([1, 1]);
  await seller.close();
});
