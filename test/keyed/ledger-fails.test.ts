import { afterAll, beforeAll, expect, test } from "vitest";
import type { CaptureRequest } from "../../server/ledger/call-ledger.ts";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** The ledger that does not answer: nothing is served, and nothing stays charged that was not served. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop();
});
afterAll(() => shop.close());

function post(customer: Customer, more = {}): Promise<Response> {
  return fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hi", more),
  });
}

/** A stream whose client reads before it is whole. */
async function streamed(customer: Customer): Promise<string> {
  const stream = shop.upstream.stream();
  const answering = post(customer, { stream: true });
  await stream.delta("Hello");
  const answer = await answering;
  await stream.finish({ prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
  return answer.text();
}

/** The next call of this step fails: before it is applied, or after. */
function failNext(step: "hold" | "capture" | "releaseHold", applied: boolean): void {
  const ledger: Record<string, unknown> = shop.gateway.ledger as never;
  const real = ledger[step] as (...args: unknown[]) => Promise<unknown>;
  ledger[step] = async (...args: unknown[]) => {
    ledger[step] = real;
    if (applied) await real(...args);
    throw new LedgerFault("injected");
  };
}

test("a whole answer is charged before its first byte leaves", async () => {
  const customer = await shop.customer(1_000_000n);
  const { capture } = shop.gateway.ledger;
  const order: string[] = [];
  const ledger: Record<string, unknown> = shop.gateway.ledger as never;
  ledger["capture"] = async (request: never) => {
    const result = await capture(request);
    order.push("charged");
    return result;
  };
  const answer = await post(customer);
  order.push("head");
  ledger["capture"] = capture;
  expect(answer.status).toBe(200);
  expect(order).toEqual(["charged", "head"]);
});

test("a key for one call at a time streams one after the other: the end of one is known to the next", async () => {
  const customer = await shop.customer(1_000_000n, { concurrency: 1 });
  for (let round = 0; round < 20; round++) expect(await streamed(customer)).toContain("[DONE]");
});

test("no hold: 503, and the upstream is not asked", async () => {
  const customer = await shop.customer(1_000_000n);
  const before = shop.upstream.calls.length;
  failNext("hold", false);
  const answer = await post(customer);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ error: { code: "ledger_unavailable" } });
  expect(shop.upstream.calls.length).toBe(before);
});

test.each([false, true])(
  "no capture (written all the same: %s): 503, no answer, no money",
  async (applied) => {
    const customer = await shop.customer(1_000_000n);
    failNext("capture", applied);
    const answer = await post(customer);
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toContain("Hello there!");
    await expect
      .poll(() => shop.books(customer.account))
      .toEqual({ balance: 1_000_000n, held: 0n, journal: 1_000_000n });
    const [key] = await shop.gateway.ledger.keys(customer.account);
    expect(key).toMatchObject({ usage: 0n, spent: 0n });
    expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
  },
);

test("an answer too large to wait for its charge, which then fails, is broken off before its end, and costs nothing", async () => {
  const customer = await shop.customer(1_000_000n);
  shop.upstream.next((_, res) => {
    res.writeHead(200, { "Content-Type": "application/json" });
    res.end(`{"choices":[],"padding":"${"x".repeat(2_000_000)}"}`);
  });
  failNext("capture", false);
  const answer = await post(customer);
  expect(answer.status).toBe(200);
  await expect(answer.text()).rejects.toThrow();
  await expect
    .poll(() => shop.books(customer.account))
    .toEqual({ balance: 1_000_000n, held: 0n, journal: 1_000_000n });
});

test("a stream that was delivered is charged, though the ledger failed at first", async () => {
  const customer = await shop.customer(1_000_000n);
  failNext("capture", false);
  expect(await streamed(customer)).toContain("[DONE]");
  await expect
    .poll(() => shop.books(customer.account))
    .toEqual({ balance: 999_993n, held: 0n, journal: 999_993n });
});

test("a charge that was written, its answer lost, is not charged again", async () => {
  const customer = await shop.customer(1_000_000n);
  failNext("capture", true);
  expect(await streamed(customer)).toContain("[DONE]");
  await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
  await expect.poll(async () => (await shop.usageOf(customer.account)).length).toBe(1);
  expect(await shop.books(customer.account)).toMatchObject({ balance: 999_993n });
});

test("with an Idempotency-Key whose answer could not be kept, the charge is given back, and the retry is a new call", async () => {
  const customer = await shop.customer(1_000_000n);
  const init = {
    method: "POST",
    headers: { ...customer.headers, "idempotency-key": "unkept" },
    body: chat("Hi"),
  };
  const { ledger } = shop.gateway;
  const { capture } = ledger;
  (ledger as { capture: unknown }).capture = async (request: CaptureRequest) => {
    (ledger as { capture: unknown }).capture = capture;
    // As Redis does whose budget for answers is spent.
    await capture({ ...request, keep: undefined });
    throw new LedgerFault("injected");
  };
  expect((await fetch(`${shop.url}/v1/chat/completions`, init)).status).toBe(503);
  await expect.poll(async () => (await shop.books(customer.account)).balance).toBe(1_000_000n);
  expect((await fetch(`${shop.url}/v1/chat/completions`, init)).status).toBe(200);
  expect(await shop.books(customer.account)).toEqual({ balance: 999_993n, held: 0n, journal: 999_993n });
  expect(await ledger.checkAccounts()).toEqual([]);
});

test("with an Idempotency-Key the retry is served and charged, once, whether the charge was written or not", async () => {
  for (const applied of [false, true]) {
    const customer = await shop.customer(1_000_000n);
    const init = {
      method: "POST",
      headers: { ...customer.headers, "idempotency-key": "order" },
      body: chat("Hi"),
    };
    failNext("capture", applied);
    expect((await fetch(`${shop.url}/v1/chat/completions`, init)).status).toBe(503);
    await expect.poll(async () => (await shop.books(customer.account)).held).toBe(0n);
    const again = await fetch(`${shop.url}/v1/chat/completions`, init);
    expect(again.status).toBe(200);
    expect(await again.text()).toContain("Hello there!");
    expect(await shop.books(customer.account)).toEqual({ balance: 999_993n, held: 0n, journal: 999_993n });
    expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
  }
});
