import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gate, gateAt, refusal } from "../account/account-world.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { type Buyer, createBuyer, paymentId, post } from "../support/buyer.ts";
import { openReceiptShop, receiptOf, verified } from "./receipt-stand.ts";

let shop: KeyedShop;
let gate: Gate;
beforeAll(async () => {
  shop = await openReceiptShop();
  gate = gateAt(shop.url, shop.config);
});
afterAll(() => shop.close());

interface TopUp {
  readonly asset: string;
  readonly payment: string;
  readonly kind: string;
  readonly receipt: string | null;
  readonly transaction: string;
}

async function topUps(buyer: Buyer, query = ""): Promise<{ topups: TopUp[]; next_before: string | null }> {
  const reply = await gate.call("GET", `/account/topups${query}`, {
    headers: await gate.header(buyer.signer),
  });
  if (reply.status !== 200) throw new Error(reply.text);
  return reply.json as never;
}

/** Pays for credit, and returns the payment's id and the receipt of the answer. */
async function buy(buyer: Buyer, path: string, amount: string, bearer?: string) {
  const init = post({ amount });
  if (bearer !== undefined) Object.assign(init.headers as object, { authorization: `Bearer ${bearer}` });
  const payment = await buyer.sign(shop.url + path, init);
  const response = await buyer.send(shop.url + path, init, payment);
  const answer = (await response.json()) as Record<string, unknown>;
  if (response.status !== 200) throw new Error(JSON.stringify(answer));
  return { id: paymentId(payment), receipt: receiptOf(response), answer };
}

test("a wallet sees what it paid in, newest first, with the receipts of the answers", async () => {
  const buyer = await createBuyer(shop);
  const key = await buy(buyer, "/keys", "0.03");
  const topUp = await buy(buyer, "/topup", "0.07");
  const { topups, next_before } = await topUps(buyer);
  expect(next_before).toBeNull();
  const record = await shop.gateway.ledger.payment(topUp.id);
  expect(topups).toEqual([
    {
      payment: topUp.id,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      kind: "top_up",
      amount_usd: "0.07",
      amount_micro_usd: "70000",
      asset: shop.config.asset,
      transaction: record?.transaction,
      receipt: topUp.receipt,
    },
    expect.objectContaining({ payment: key.id, kind: "key_purchase", receipt: key.receipt }),
  ]);
  expect(await verified(shop, topups[1]?.receipt ?? "")).toMatchObject({
    resourceUrl: `${shop.url}/keys`,
    payer: buyer.address,
  });
});

test("what was settled and not served is there, and has no receipt: nothing was delivered", async () => {
  const buyer = await createBuyer(shop);
  const stream = shop.upstream.stream();
  const init = post({ prompt: "Hi", stream: true });
  const payment = await buyer.sign(`${shop.url}/agent`, init);
  const answered = buyer.send(`${shop.url}/agent`, init, payment);
  await stream.delta("One ");
  const response = await answered;
  await stream.breakOff();
  await response.text().catch(() => undefined);
  await expect.poll(async () => (await topUps(buyer)).topups).toHaveLength(1);
  const { topups } = await topUps(buyer);
  expect(topups).toMatchObject([{ payment: paymentId(payment), kind: "owed_credit", receipt: null }]);
  expect(topups[0]?.transaction).toBe((await shop.gateway.ledger.payment(paymentId(payment)))?.transaction);
});

test("another wallet's payment onto this account is shown, and its receipt is not", async () => {
  const [owner, friend] = [await createBuyer(shop), await createBuyer(shop)];
  const { answer } = await buy(owner, "/keys", "0.03");
  const gift = await buy(friend, "/topup", "0.05", String(answer["key"]));
  expect(gift.receipt).toBeDefined();
  const { topups } = await topUps(owner);
  expect(topups).toMatchObject([
    { payment: gift.id, kind: "top_up", receipt: null, transaction: expect.any(String) },
    { kind: "key_purchase", receipt: expect.any(String) },
  ]);
  const headers = await gate.header(owner.signer);
  const [entry] = (await gate.call("GET", "/account/journal", { headers })).json["journal"] as unknown[];
  const { asset, transaction } = topups[0] ?? {};
  expect(entry).toMatchObject({ payment: gift.id, kind: "topup", transaction, asset, asset_amount: "50000" });
  // It credited nobody else's account.
  expect(await topUps(friend)).toEqual({ topups: [], next_before: null });
});

test("page by page, without a gap or a repeat; nobody else's are among them", async () => {
  const [buyer, other] = [await createBuyer(shop), await createBuyer(shop)];
  const bought = [];
  for (const amount of ["0.01", "0.02", "0.03"]) bought.push((await buy(buyer, "/topup", amount)).id);
  await buy(other, "/topup", "0.04");
  const first = await topUps(buyer, "?limit=2");
  const second = await topUps(buyer, `?limit=2&before=${first.next_before}`);
  const seen = [...first.topups, ...second.topups].map(({ payment }) => payment);
  expect(seen).toEqual(bought.toReversed());
  expect(second.next_before).toBeNull();
});

test.each([
  ["?limit=0", 400],
  ["?limit=101", 400],
  ["?account=wallet:x", 400],
  ["?before=", 400],
])("a query it does not know is refused: %s", async (query, status) => {
  const { signer } = await createBuyer(shop, 0n);
  const reply = await gate.call("GET", `/account/topups${query}`, { headers: await gate.header(signer) });
  expect(refusal(reply).slice(0, 2)).toEqual([status, "invalid_request"]);
});

test("only after a sign-in", async () => {
  expect(refusal(await gate.call("GET", "/account/topups")).slice(0, 2)).toEqual([401, "sign_in_required"]);
});
