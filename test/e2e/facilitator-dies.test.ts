import { generateKeyPairSigner } from "@solana/kit";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createForger, v2, withTerms } from "../hostile/forger.ts";
import { chat, type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, payloadOf, post, termsOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { createManualClock, type ManualClock } from "../support/manual-clock.ts";
import { type RivalFacilitator, startRivalFacilitator } from "../support/rival-facilitator.ts";
import { nothingPaid, provenOnChain, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

/** Two official facilitators with different fee payers on one chain; when they are asked whether they live, we say. */

const PRICE = 20_000n;
/** What the issue allows until new 402s name another one. */
const NOTICED_WITHIN_MS = 5_000;
const SOON = { interval: 5, timeout: 8_000 };
const MODELS = `
models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }
defaultModel: gpt-test
`;

let shop: KeyedShop;
let rival: RivalFacilitator;
let clock: ManualClock;

beforeAll(async () => {
  clock = createManualClock();
  shop = await openKeyedShop({
    clock,
    models: MODELS,
    env: { ADMIN_PORT: "0" },
    rivals: async ({ rpcUrl }) => {
      rival = await startRivalFacilitator(rpcUrl);
      return [rival];
    },
  });
});
beforeEach(async () => {
  await offered(shop.localnet.feePayer);
  await expect.poll(standing, SOON).toEqual([`${shop.facilitator.url} closed`, `${rival.url} closed`]);
});
afterEach(async () => {
  shop.facilitator.clear();
  rival.clear();
  await shop.facilitator.up();
  await rival.up();
  await pass(NOTICED_WITHIN_MS);
});
afterAll(async () => {
  await shop.close();
  await rival.close();
});

const agent = () => `${shop.url}/agent`;
let calls = 0;
/** A call of its own: a twin of an earlier one is another matter. */
const ask = () => {
  calls += 1;
  return post({ prompt: `Call ${calls}` });
};

/** Lets so much time go by for the questions to facilitators, in steps, so that each is answered before the next. */
async function pass(ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 500) {
    clock.advance(500);
    await answered();
  }
}

/** Each facilitator's next question waits for its time again: the one before is answered. */
async function answered(): Promise<void> {
  await expect.poll(() => clock.waiting().length, SOON).toBe(2);
}

/** The fee payer that an unpaid call is told. */
async function feePayer(): Promise<unknown> {
  const { accepts } = termsOf(await fetch(agent(), ask()));
  const { extra } = accepts[0] as { extra: { feePayer: string } };
  return extra.feePayer;
}

async function offered(address: string): Promise<void> {
  await expect.poll(feePayer, SOON).toBe(address);
}

async function standing(): Promise<string[]> {
  const { checks } = (await (await fetch(`${shop.url}/readyz`)).json()) as {
    checks: { facilitator: { detail: string } };
  };
  return checks.facilitator.detail.split(", ");
}

/** As the metrics tell it. */
async function breakers(): Promise<string[]> {
  const text = await (await fetch(`http://127.0.0.1:${shop.gateway.adminPort}/metrics`)).text();
  const lines = text.matchAll(/^farebox_facilitator_breaker\{facilitator="(.+)",state="(\w+)"\} 1$/gm);
  return [...lines].map(([, name, state]) => `${name} ${state}`);
}

async function documentedFeePayers(): Promise<unknown[]> {
  const { items } = (await (await fetch(`${shop.url}/.well-known/x402`)).json()) as {
    items: { accepts: { extra: { feePayer: string } }[] }[];
  };
  const openapi = await (await fetch(`${shop.url}/openapi.json`)).text();
  const named = [shop.localnet.feePayer, rival.feePayer].filter((address) => openapi.includes(address));
  return [...new Set([...items.map(({ accepts }) => accepts[0]?.extra.feePayer), ...named])];
}

async function die(facilitator: { down(): Promise<void> }): Promise<void> {
  await facilitator.down();
  await pass(NOTICED_WITHIN_MS);
}

test("one dies: 402s and documents name the other, a payment for the dead one is 503 and waits, and is served once", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  expect(payloadOf(payment).accepted.extra["feePayer"]).toBe(shop.localnet.feePayer);
  await die(shop.facilitator);
  expect(await feePayer()).toBe(rival.feePayer);
  expect(new Set(await documentedFeePayers())).toEqual(new Set([rival.feePayer]));
  expect(await standing()).toEqual([`${shop.facilitator.url} open`, `${rival.url} closed`]);
  expect(await breakers()).toEqual([`${shop.facilitator.url} open`, `${rival.url} closed`]);
  const line = await shop.line({ level: "warn", facilitator: shop.facilitator.url, breaker: "open" });
  expect(line["reason"]).toMatch(/^connect_failed|^connection_lost/);

  const before = tally(shop);
  const rivalCalls = { ...rival.calls };
  const refused = await buyer.send(agent(), init, payment);
  expect(refused.headers.get("retry-after")).toBe("2");
  expect(await refusalOf(refused)).toEqual([503, "facilitator_unavailable"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
  expect(rival.calls).toMatchObject({ verify: rivalCalls.verify, settle: rivalCalls.settle });

  // Somebody who asks now is sold at the other one.
  const next = await createBuyer(shop);
  const sold = await next.fetch(agent(), ask());
  expect(sold.status).toBe(200);
  await provenOnChain(shop, sold);
  expect(rival.calls.settle).toBe(rivalCalls.settle + 1);

  await shop.facilitator.up();
  await pass(NOTICED_WITHIN_MS);
  await offered(shop.localnet.feePayer);
  await shop.line({ level: "info", facilitator: shop.facilitator.url, breaker: "closed" });
  const after = tally(shop);
  const served = await buyer.send(agent(), init, payment);
  expect(served.status).toBe(200);
  expect(since(shop, after)).toEqual(soldOnce(PRICE));
  const transaction = await provenOnChain(shop, served);
  const again = await buyer.send(agent(), init, payment);
  expect(again.status).toBe(200);
  expect(await provenOnChain(shop, again)).toBe(transaction);
  expect(since(shop, after)).toEqual(soldOnce(PRICE));
});

test("the second one dies: nobody notices but who has signed for it", async () => {
  await die(shop.facilitator);
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  expect(payloadOf(payment).accepted.extra["feePayer"]).toBe(rival.feePayer);
  await shop.facilitator.up();
  await pass(NOTICED_WITHIN_MS);
  // The first is named again, and the payment for the second is still good there.
  await offered(shop.localnet.feePayer);
  await die(rival);
  expect(await feePayer()).toBe(shop.localnet.feePayer);
  const before = tally(shop);
  const settles = rival.calls.settle;
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "facilitator_unavailable"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
  await rival.up();
  await pass(NOTICED_WITHIN_MS);
  expect((await buyer.send(agent(), init, payment)).status).toBe(200);
  // Settled there, not here.
  expect(since(shop, before)).toEqual({ ...soldOnce(PRICE), settled: 0 });
  expect(rival.calls.settle).toBe(settles + 1);
});

test("it does not die but falls silent: noticed all the same", async () => {
  shop.facilitator.fail("supported", faults.hang, 2);
  clock.advance(1_500);
  await offered(rival.feePayer);
  await shop.line({ level: "warn", facilitator: shop.facilitator.url, breaker: "open", reason: "timeout" });
});

test("a client of protocol v1 pays at the other one as well", async () => {
  await die(shop.facilitator);
  const settles = rival.calls.settle;
  const buyer = await createBuyer(shop);
  expect((await buyer.fetchV1(agent(), ask())).status).toBe(200);
  expect(rival.calls.settle).toBe(settles + 1);
});

test("dead only since a moment ago, and nobody has noticed: 503 as well", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  await shop.facilitator.down();
  const before = tally(shop);
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "facilitator_unavailable"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
});

test("all dead: 402s name the first, payments are 503, and keyed calls go on", async () => {
  const customer = await shop.customer(1_000_000n);
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  await shop.facilitator.down();
  await rival.down();
  await pass(NOTICED_WITHIN_MS);
  expect(await standing()).toEqual([`${shop.facilitator.url} open`, `${rival.url} open`]);
  expect((await fetch(`${shop.url}/readyz`)).status).toBe(200);
  expect(await feePayer()).toBe(shop.localnet.feePayer);
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "facilitator_unavailable"]);
  const keyed = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hello"),
  });
  expect(keyed.status).toBe(200);
  await keyed.text();
  await expect.poll(async () => (await shop.books(customer.account)).balance, SOON).toBe(1_000_000n - PRICE);
});

test("a facilitator that dies while it settles: unknown, never settled at the other one, decided by the chain", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  const before = tally(shop);
  const rivalCalls = { ...rival.calls };
  shop.facilitator.fail("settle", faults.dropAfter);
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "settlement_unknown"]);
  await die(shop.facilitator);
  const served = await buyer.send(agent(), init, payment);
  expect(served.status).toBe(200);
  expect(since(shop, before)).toMatchObject({ balance: PRICE, transfers: 1, settled: 1 });
  expect(rival.calls).toMatchObject({ verify: rivalCalls.verify, settle: rivalCalls.settle });
});

test("a slow settle whose facilitator's breaker opens meanwhile is not repeated at the other one", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  const before = tally(shop);
  const rivalCalls = { ...rival.calls };
  const hold = shop.facilitator.hold("settle");
  const answer = buyer.send(agent(), init, payment);
  await hold.arrived;
  shop.facilitator.fail("supported", faults.status(500), 8);
  await pass(NOTICED_WITHIN_MS);
  expect(await feePayer()).toBe(rival.feePayer);
  hold.release();
  const served = await answer;
  expect(served.status).toBe(200);
  await provenOnChain(shop, served);
  expect(since(shop, before)).toEqual(soldOnce(PRICE));
  expect(rival.calls).toMatchObject({ verify: rivalCalls.verify, settle: rivalCalls.settle });
});

test("the breaker opens between verify and settle: nothing is sent, and the same payment is good later", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  const before = tally(shop);
  const verified = shop.facilitator.hold("verify");
  const answer = buyer.send(agent(), init, payment);
  await verified.arrived;
  shop.facilitator.fail("supported", faults.status(500), 8);
  await pass(NOTICED_WITHIN_MS);
  expect(await feePayer()).toBe(rival.feePayer);
  verified.release();
  expect(await refusalOf(await answer)).toEqual([503, "facilitator_unavailable"]);
  expect(since(shop, before)).toMatchObject({ balance: 0n, transfers: 0, settled: 0 });
  shop.facilitator.clear();
  await pass(NOTICED_WITHIN_MS);
  await offered(shop.localnet.feePayer);
  expect((await buyer.send(agent(), init, payment)).status).toBe(200);
  expect(since(shop, before)).toMatchObject({ balance: PRICE, transfers: 1, settled: 1 });
});

test("refusals, however many, open nothing", async () => {
  const reasons = Array.from({ length: 12 }, () => "insufficient_funds");
  for (const reason of reasons) {
    const buyer = await createBuyer(shop);
    shop.facilitator.fail("verify", faults.reason(reason));
    expect(await refusalOf(await buyer.fetch(agent(), ask()))).toEqual([402, "payment_invalid"]);
  }
  expect(await feePayer()).toBe(shop.localnet.feePayer);
  expect(await standing()).toEqual([`${shop.facilitator.url} closed`, `${rival.url} closed`]);
});

test("verify that keeps failing opens it without waiting for the next question", async () => {
  for (let failures = 0; failures < 5; failures += 1) {
    expect(await feePayer()).toBe(shop.localnet.feePayer);
    const buyer = await createBuyer(shop);
    shop.facilitator.fail("verify", faults.status(500));
    const refused = await buyer.fetch(agent(), ask());
    expect(await refusalOf(refused)).toEqual([503, "facilitator_unavailable"]);
  }
  expect(await feePayer()).toBe(rival.feePayer);
  await pass(NOTICED_WITHIN_MS);
  await offered(shop.localnet.feePayer);
});

test("a feePayer of none of them is 402 with fresh terms", async () => {
  const { address: stranger } = await generateKeyPairSigner();
  const forger = await createForger(shop.localnet.rpcUrl);
  await shop.localnet.fund(forger.address, 1_000_000n);
  const init = ask();
  const shown = withTerms(await forger.challenge(agent(), init), {}, { feePayer: stranger });
  const headers = { ...(init.headers as Record<string, string>), ...v2(await forger.sign(shown)) };
  const before = tally(shop);
  const refused = await fetch(agent(), { ...init, headers });
  expect(refused.status).toBe(402);
  expect(termsOf(refused)).toMatchObject({
    error: "payment_mismatch",
    accepts: [{ extra: { feePayer: shop.localnet.feePayer } }],
  });
  expect(since(shop, before)).toEqual(nothingPaid(0));
});

test("started while one is dead: the other sells, the log warns, and a payment signed before for the dead one waits", async () => {
  const buyer = await createBuyer(shop);
  const init = ask();
  const payment = await buyer.sign(agent(), init);
  await shop.facilitator.down();
  const warnings = shop.lines.length;
  await shop.restart();
  expect(await feePayer()).toBe(rival.feePayer);
  await expect
    .poll(() => shop.lines.slice(warnings), SOON)
    .toContainEqual(expect.objectContaining({ facilitator: shop.facilitator.url, breaker: "open" }));
  const before = tally(shop);
  expect(await refusalOf(await buyer.send(agent(), init, payment))).toEqual([503, "facilitator_unavailable"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
  expect((await (await createBuyer(shop)).fetch(agent(), ask())).status).toBe(200);
  await shop.facilitator.up();
  await pass(NOTICED_WITHIN_MS);
  const after = tally(shop);
  expect((await buyer.send(agent(), init, payment)).status).toBe(200);
  expect(since(shop, after)).toEqual(soldOnce(PRICE));
});
