import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, payloadOf, post } from "../support/buyer.ts";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { nothingPaid, reaches, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

const PRICE = 20_000n;
const COPIES = 50;
const PROMPT = "a prompt that nobody else may read";
const REPLY = "a reply that nobody else may read";

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop.close());

const chat = { model: "gpt-test", messages: [{ role: "user", content: PROMPT }] };
const REQUESTS = [
  ["/agent", post({ prompt: PROMPT })],
  ["/agent as a stream", post({ prompt: PROMPT, stream: true })],
  ["/v1/chat/completions", post(chat)],
  ["/v1/chat/completions as a stream", post({ ...chat, stream: true })],
] as const;

/** Everything of an answer that a caller can build on; what differs between connections is left out. */
async function wholeOf(response: Response): Promise<unknown> {
  const headers = Object.fromEntries(response.headers);
  for (const name of ["date", "connection", "keep-alive", "transfer-encoding", "content-length"]) {
    delete headers[name];
  }
  const body = Buffer.from(await response.arrayBuffer()).toString("hex");
  return { status: response.status, headers, body };
}

function urlOf(request: string): string {
  return shop.url + request.replace(" as a stream", "");
}

test(`${COPIES} copies at once: one runs, the others are told to wait, one transfer`, async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const init = post({ prompt: PROMPT });
  const payment = await buyer.sign(url, init);
  const before = tally(shop);
  const held = shop.upstream.hold();
  const refused: Response[] = [];
  const copies = Array.from({ length: COPIES }, async () => {
    const response = await buyer.send(url, init, payment);
    if (response.status !== 200) refused.push(response);
    // The one that runs waits for the others: each of them arrived while it was at work.
    if (refused.length === COPIES - 1) held.release();
    return response;
  });
  const statuses = (await Promise.all(copies)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 409)).toHaveLength(COPIES - 1);
  for (const response of refused) {
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await refusalOf(response)).toEqual([409, "payment_in_progress"]);
  }
  expect(since(shop, before)).toEqual(soldOnce(PRICE));

  await reaches(shop, payment, "delivered");
  const late = await Promise.all(Array.from({ length: COPIES }, () => buyer.send(url, init, payment)));
  expect(new Set(late.map(({ status }) => status))).toEqual(new Set([200]));
  await Promise.all(late.map((response) => response.arrayBuffer()));
  expect(since(shop, before)).toEqual(soldOnce(PRICE));
});

describe.each(REQUESTS)("%s", (request, init) => {
  test("gets its answer again, byte for byte, before and after a restart, for one settlement", async () => {
    const buyer = await createBuyer(shop);
    const url = urlOf(request);
    const payment = await buyer.sign(url, init);
    const before = tally(shop);
    shop.upstream.next(answers.chat(REPLY));
    const first = await wholeOf(await buyer.send(url, init, payment));
    expect(first).toMatchObject({ status: 200, headers: { "payment-response": expect.any(String) } });
    await reaches(shop, payment, "delivered");
    expect(await wholeOf(await buyer.send(url, init, payment))).toEqual(first);
    await shop.restart();
    expect(await wholeOf(await buyer.send(url, init, payment))).toEqual(first);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });
});

test("for another body, route or query it is 409 payment_already_used", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const payment = await buyer.sign(url, post({ prompt: "one" }));
  expect((await buyer.send(url, post({ prompt: "one" }), payment)).status).toBe(200);
  await reaches(shop, payment, "delivered");
  const before = tally(shop);
  const other = await buyer.send(url, post({ prompt: "two" }), payment);
  expect(await refusalOf(other)).toEqual([409, "payment_already_used"]);
  const query = await buyer.send(`${url}?x=1`, post({ prompt: "one" }), payment);
  expect(await refusalOf(query)).toEqual([409, "payment_already_used"]);
  const elsewhere = await buyer.send(`${shop.url}/v1/chat/completions`, post(chat), payment);
  expect(await refusalOf(elsewhere)).toEqual([409, "payment_already_used"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
});

test("a stream and the whole answer are two requests", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const payment = await buyer.sign(url, post({ prompt: "one" }));
  expect((await buyer.send(url, post({ prompt: "one" }), payment)).status).toBe(200);
  await reaches(shop, payment, "delivered");
  const streamed = await buyer.send(url, post({ prompt: "one", stream: true }), payment);
  expect(await refusalOf(streamed)).toEqual([409, "payment_already_used"]);
});

test("the ledger's files show neither prompt, reply nor token", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/agent`;
  const init = post({ prompt: PROMPT });
  const payment = await buyer.sign(url, init);
  shop.upstream.next(answers.chat(REPLY));
  expect(await (await buyer.send(url, init, payment)).text()).toContain(REPLY);
  await reaches(shop, payment, "delivered");
  const { token = "", memo = "" } = payloadOf(payment).accepted.extra;
  const names = (await readdir(shop.dataDir)).filter((name) => name.startsWith("ledger.sqlite"));
  expect(names).toContain("ledger.sqlite-wal");
  const files = Buffer.concat(await Promise.all(names.map((name) => readFile(join(shop.dataDir, name)))));
  // The memo is public; finding it shows that the search would find the others.
  expect(files.includes(memo)).toBe(true);
  expect(token).toHaveLength(48);
  for (const secret of [PROMPT, REPLY, token, shop.env["FAREBOX_MEMO_SECRET"] ?? ""]) {
    expect(files.includes(secret)).toBe(false);
  }
});

describe("with storeResponses: false", () => {
  afterEach(() => shop.restart(""));

  test("a delivered payment is 409 response_not_stored, also after a restart", async () => {
    await shop.restart("payment: { storeResponses: false }");
    const buyer = await createBuyer(shop);
    const url = `${shop.url}/agent`;
    const init = post({ prompt: PROMPT });
    const payment = await buyer.sign(url, init);
    const before = tally(shop);
    expect((await buyer.send(url, init, payment)).status).toBe(200);
    await reaches(shop, payment, "delivered");
    expect(await refusalOf(await buyer.send(url, init, payment))).toEqual([409, "response_not_stored"]);
    await shop.restart();
    expect(await refusalOf(await buyer.send(url, init, payment))).toEqual([409, "response_not_stored"]);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });
});
