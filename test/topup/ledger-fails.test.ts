import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { endLease } from "../faults/dead-gateway.ts";
import { chat, type KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import { expectBooksClosed, openCreditShop, order, type Purchase } from "./credit-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openCreditShop();
});
afterEach(() => expectBooksClosed(shop));
afterAll(() => shop.close());

type Step = "settled" | "credit" | "payment" | "account" | "createKey" | "keyBySecret";

const UNAVAILABLE = { status: 503, code: "ledger_unavailable" };
const UNKNOWN = { status: 503, code: "settlement_unknown" };
const BUSY = { status: 409, code: "payment_in_progress" };

/** The next calls of this step fail: before they are applied, or after. */
function failNext(step: Step, when: "before" | "after", times = 1): void {
  const ledger: Record<string, unknown> = shop.gateway.ledger as never;
  const real = ledger[step] as (...args: unknown[]) => Promise<unknown>;
  let left = times;
  ledger[step] = async (...args: unknown[]) => {
    left -= 1;
    if (left === 0) ledger[step] = real;
    if (when === "after") await real(...args);
    throw new LedgerFault("injected");
  };
}

const buyKey = async (): Promise<Purchase> =>
  order(shop, await createBuyer(shop), "/keys", { amount: "0.05" });

async function expectOneKey({ account }: Purchase, secret: unknown): Promise<void> {
  const { ledger } = shop.gateway;
  expect(await ledger.keys(account)).toHaveLength(1);
  expect(await ledger.balance(account)).toBe(50_000n);
  const called = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
    body: chat("hi"),
  });
  expect(called.status).toBe(200);
}

const whens = ["before", "after"] as const;

describe.each(whens)("a step fails %s it is applied", (when) => {
  test("the credit: it is tried again, and counts once", async () => {
    const purchase = await buyKey();
    failNext("credit", when);
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { balance: "0.05", repeated: false } });
    await expectOneKey(purchase, answer.body["key"]);
  });

  test("the key: it is tried again, and its secret is shown", async () => {
    const purchase = await buyKey();
    failNext("createKey", when);
    const answer = await purchase.send();
    expect(answer).toMatchObject({ status: 200, body: { repeated: false } });
    await expectOneKey(purchase, answer.body["key"]);
    expect((await purchase.send()).body).toMatchObject({ id: answer.body["id"], repeated: true });
  });

  test("the settled record: the retry asks the chain and is answered", async () => {
    const purchase = await buyKey();
    failNext("settled", when);
    expect(await purchase.send()).toMatchObject(UNKNOWN);
    expect(await purchase.send()).toMatchObject(BUSY);
    endLease(shop, purchase.id);
    const answer = await purchase.send();
    expect(answer.status).toBe(200);
    await expectOneKey(purchase, answer.body["key"]);
  });

  test.each<Step>(["payment", "account"])(
    "reading the %s for the answer: the retry is answered",
    async (step) => {
      const purchase = await buyKey();
      failNext(step, when);
      expect(await purchase.send()).toMatchObject(UNAVAILABLE);
      expect(await shop.gateway.ledger.keys(purchase.account)).toEqual([]);
      const answer = await purchase.send();
      expect(answer).toMatchObject({ status: 200, body: { repeated: true } });
      await expectOneKey(purchase, answer.body["key"]);
    },
  );

  test("looking up the key that is sent along: nothing is claimed", async () => {
    const customer = await shop.customer(0n);
    const payer = await createBuyer(shop);
    const purchase = await order(shop, payer, "/topup", { amount: "0.05" }, customer.secret);
    failNext("keyBySecret", when);
    expect(await purchase.send()).toMatchObject(UNAVAILABLE);
    expect(await shop.gateway.ledger.payment(purchase.id)).toBeUndefined();
    expect(await purchase.send()).toMatchObject({ status: 200, body: { account: customer.account } });
  });
});

test("the credit fails again and again: not answered before it is recorded, and the retry is", async () => {
  const purchase = await buyKey();
  failNext("credit", "before", 6);
  expect(await purchase.send()).toMatchObject(UNAVAILABLE);
  const { ledger }: { ledger: Ledger } = shop.gateway;
  expect((await ledger.payment(purchase.id))?.state).toBe("settled");
  expect(await ledger.keys(purchase.account)).toEqual([]);
  endLease(shop, purchase.id);
  const answer = await purchase.send();
  expect(answer).toMatchObject({ status: 200, body: { balance: "0.05", repeated: false } });
  await expectOneKey(purchase, answer.body["key"]);
}, 20_000);

test("the key is made and every answer is lost: one key, and the credit is there for another", async () => {
  const buyer = await createBuyer(shop);
  const purchase = await order(shop, buyer, "/keys", { amount: "0.05" });
  failNext("createKey", "after", 6);
  expect(await purchase.send()).toMatchObject(UNAVAILABLE);
  const again = await purchase.send();
  expect(again).toMatchObject({ status: 200, body: { id: expect.any(String), repeated: true } });
  expect(again.body).not.toHaveProperty("key");
  expect(await shop.gateway.ledger.keys(purchase.account)).toHaveLength(1);
  const other = await (await order(shop, buyer, "/keys", { amount: "0.01" })).send();
  expect(other.body).toMatchObject({ key: expect.any(String), balance: "0.06" });
});
