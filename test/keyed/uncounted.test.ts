import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createHoldKeeper } from "../../server/payment/holds.ts";
import { createKeyCharge } from "../../server/payment/key-charge.ts";
import { flatSale, type SaleReading } from "../../server/payment/sale.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop();
});
afterAll(() => shop.close());

/** A call of an account, at this price, whose gateway has its own hold. */
async function openCharge(account: string, read: () => Promise<SaleReading>, leaseMs = 60_000) {
  const { ledger } = shop.gateway;
  const sale = { ...flatSale(600n, () => {}), read };
  const id = randomBytes(16).toString("hex");
  const outcome = await ledger.hold({
    id,
    payer: { kind: "account", account },
    permission: "chat:read",
    model: undefined,
    provider: undefined,
    range: sale.range,
    ownKeyRange: undefined,
    leaseMs,
    idempotency: undefined,
  });
  if (outcome.outcome !== "held") throw new Error(outcome.outcome);
  const faults: unknown[] = [];
  const onFault = (error: unknown): void => void faults.push(error);
  const holds = createHoldKeeper(ledger, 60_000, onFault);
  const parts = { ledger, holds, storeTtlMs: 1_000, lowBalance: undefined, onFault };
  const charge = createKeyCharge(parts, {
    tier: "key",
    hold: outcome.hold,
    route: "POST /v1/chat/completions",
    sale,
    costOf: (metered) => metered,
    answerKey: undefined,
    idempotency: undefined,
    facts: () => ({ status: 502, ms: 1 }),
  });
  return { charge, holds, faults };
}

const reading: SaleReading = {
  begun: true,
  upstreamStatus: 200,
  promptTokens: undefined,
  completionTokens: undefined,
  estimated: false,
  cost: 600n,
};

test.each([
  ["the upstream failed", { reason: "handler_failed", by: "server", worked: true }],
  ["the client left before anything was done", { reason: "client_left", by: "client", worked: false }],
] as const)("a call that costs nothing is over before its tokens are counted: %s", async (_, release) => {
  const { account } = await shop.customer(1_000n);
  const { charge, holds, faults } = await openCharge(account, () => new Promise(() => {}));
  await charge.release(release);
  holds.close();
  expect(faults).toEqual([]);
  expect(await shop.books(account)).toEqual({ balance: 1_000n, held: 0n, journal: 1_000n });
  expect(await shop.usageOf(account)).toMatchObject([{ charged: 0n, notCharged: release.reason }]);
});

test.each([true, false])(
  "what was served and cannot be counted costs what was held (first: %s)",
  async (first) => {
    const { account } = await shop.customer(1_000n);
    const { charge, holds, faults } = await openCharge(account, () =>
      Promise.reject(new Error("no tokenizer")),
    );
    expect(await charge.capture({ delivered: true, response: undefined, first })).toBe(true);
    holds.close();
    expect(faults).toHaveLength(1);
    expect(await shop.books(account)).toEqual({ balance: 400n, held: 0n, journal: 400n });
  },
);

test("an answer whose hold has lapsed, and that the balance does not cover any more, is neither sent nor charged in part", async () => {
  const { ledger } = shop.gateway;
  const { account } = await shop.customer(1_000n);
  const late = await openCharge(account, async () => reading, 0);
  await expect.poll(() => ledger.sweepHolds().then(() => shop.books(account))).toMatchObject({ held: 0n });
  const other = await openCharge(account, async () => reading);
  expect(await other.charge.capture({ delivered: true, response: undefined })).toBe(true);
  expect(await late.charge.capture({ delivered: true, response: undefined, first: true })).toBe(false);
  await expect.poll(() => shop.books(account)).toEqual({ balance: 400n, held: 0n, journal: 400n });
  expect(await ledger.checkAccounts()).toEqual([]);
  for (const { holds } of [late, other]) holds.close();
});

test("what an upstream reported of a call that it then broke off is recorded", async () => {
  const customer = await shop.customer(1_000_000n);
  const script = shop.upstream.stream();
  const reply = fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hi", { stream: true }),
  });
  await script.data({
    choices: [{ index: 0, delta: { content: "Hello" } }],
    usage: { prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 },
  });
  const answer = await reply;
  await script.breakOff();
  await expect(answer.text()).rejects.toThrow();
  await expect
    .poll(() => shop.usageOf(customer.account))
    .toMatchObject([{ charged: 0n, promptTokens: 11, completionTokens: 5, estimated: false }]);
});
