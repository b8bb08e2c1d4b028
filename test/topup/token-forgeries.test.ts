import type { PaymentRequirements } from "@x402/core/types";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Buyer, createTokenBuyer, paymentId, post, termsOf } from "../support/buyer.ts";
import { order, read } from "./credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type TokenShop } from "./token-shop.ts";

/** A classic mint that anybody can print, with an account of the merchant's. */
let worthless: string;
let shop: TokenShop;
let buyer: Buyer;

beforeAll(async () => {
  shop = await openTokenShop();
  const { localnet } = shop;
  worthless = await localnet.createMint({ program: "token", decimals: 6 });
  await localnet.createTokenAccount(localnet.merchant, worthless);
  // One who has a lot of everything.
  buyer = await createTokenBuyer(shop, worthless);
  for (const mint of [localnet.asset, shop.classic.mint, shop.play.mint]) {
    await localnet.fund(buyer.address, 10n ** 15n, mint);
  }
});
afterEach(() => expectTokenBooksClosed(shop));
afterAll(() => shop.close());

const body = { amount: "0.05" };

interface Offers {
  readonly usdc: PaymentRequirements;
  readonly classic: PaymentRequirements;
  readonly play: PaymentRequirements;
}

async function offers(asked: unknown = body): Promise<Offers> {
  const { accepts } = termsOf(await fetch(`${shop.url}/topup`, post(asked)));
  const [usdc, classic, play] = accepts as unknown as PaymentRequirements[];
  if (usdc === undefined || classic === undefined || play === undefined) throw new Error("no offers");
  return { usdc, classic, play };
}

/** A header that says `accepted`, with a transfer as `signed` asks for, signed by a wallet that can pay it. */
async function forged(
  accepted: PaymentRequirements,
  signed: PaymentRequirements = accepted,
): Promise<Record<string, string>> {
  const scheme = new ExactSvmScheme(buyer.signer, { rpcUrl: shop.localnet.rpcUrl });
  const { payload } = await scheme.createPaymentPayload(2, signed);
  const header = JSON.stringify({ x402Version: 2, accepted, payload });
  return { "PAYMENT-SIGNATURE": Buffer.from(header).toString("base64") };
}

/** Its token and memo in the place of its own. */
function withTokenOf(offer: PaymentRequirements, other: PaymentRequirements): PaymentRequirements {
  const { token, memo } = other.extra;
  return { ...offer, extra: { ...offer.extra, token, memo } };
}

type Forgery = (all: Offers) => Promise<Record<string, string>>;

const FORGERIES: readonly (readonly [string, Forgery])[] = [
  ["the USDC offer, paid in a worthless mint", ({ usdc }) => forged({ ...usdc, asset: worthless })],
  ["the token's offer, paid in a worthless mint", ({ play }) => forged({ ...play, asset: worthless })],
  [
    "the token's offer untouched, and a transfer of a worthless mint",
    ({ play }) => forged(play, { ...play, asset: worthless }),
  ],
  [
    "the USDC offer untouched, and a transfer of the token in USDC's amount",
    ({ usdc }) => forged(usdc, { ...usdc, asset: shop.play.mint }),
  ],
  ["the USDC offer, paid in the token", ({ usdc }) => forged({ ...usdc, asset: shop.play.mint })],
  ["the token's offer in USDC's amount", ({ play, usdc }) => forged({ ...play, amount: usdc.amount })],
  [
    "the token's offer untouched, and a transfer of USDC's amount",
    ({ play, usdc }) => forged(play, { ...play, amount: usdc.amount }),
  ],
  ["the token's offer under USDC's token", ({ play, usdc }) => forged(withTokenOf(play, usdc))],
  ["USDC's offer under the token's token", ({ play, usdc }) => forged(withTokenOf(usdc, play))],
  ["one token's offer under the other's", ({ play, classic }) => forged(withTokenOf(play, classic))],
  [
    "the dearer token's amount in the cheaper",
    ({ play, classic }) => forged({ ...play, amount: classic.amount }),
  ],
  ["other decimals", ({ play }) => forged({ ...play, extra: { ...play.extra, decimals: 6 } })],
  [
    "to another wallet of the payer's own",
    ({ play }) => forged({ ...play, payTo: buyer.address }, { ...play, payTo: shop.localnet.feePayer }),
  ],
];

test.each(FORGERIES)("%s: refused, nobody is asked, nothing is credited", async (_name, forge) => {
  for (const path of ["/topup", "/keys"]) {
    const payment = await forge(await offers());
    const { settle, verify } = shop.facilitator.calls;
    const answer = await read(await buyer.send(shop.url + path, post(body), payment));
    expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
    expect(shop.facilitator.calls).toMatchObject({ settle, verify });
    expect(await shop.gateway.ledger.payment(paymentId(payment))).toBeUndefined();
    expect((await shop.books(`wallet:${buyer.address}`)).balance).toBe(0n);
  }
});

describe("what an offer was made for", () => {
  test("a smaller amount's offer buys no larger amount", async () => {
    const { play } = await offers();
    const payment = await forged(play);
    const dearer = { amount: "2.00" };
    const answer = await read(await buyer.send(`${shop.url}/topup`, post(dearer), payment));
    expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
    expect(await shop.gateway.ledger.payment(paymentId(payment))).toBeUndefined();
  });

  test("an offer of /topup buys no key", async () => {
    const { play } = await offers();
    const answer = await read(await buyer.send(`${shop.url}/keys`, post(body), await forged(play)));
    expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
  });

  test("a token's payment buys no call", async () => {
    const { play } = await offers();
    const call = post({ model: "gpt-test", messages: [{ role: "user", content: "hi" }] });
    const payment = await forged(play);
    const answer = await read(await buyer.send(`${shop.url}/v1/chat/completions`, call, payment));
    expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
    expect(await shop.gateway.ledger.payment(paymentId(payment))).toBeUndefined();
  });
});

test("two offers of one 402: each is paid by a transfer of its own, and credited once, however often it comes", async () => {
  const { usdc, play } = await offers();
  const payer = `wallet:${buyer.address}`;
  const [inUsdc, inPlay] = [await forged(usdc), await forged(play)];
  const send = async (payment: Record<string, string>) =>
    read(await buyer.send(`${shop.url}/topup`, post(body), payment));
  expect(await send(inPlay)).toMatchObject({ status: 200, body: { balance: "0.05", repeated: false } });
  for (let round = 0; round < 3; round += 1) {
    expect(await send(inPlay)).toMatchObject({ status: 200, body: { balance: "0.05", repeated: true } });
  }
  expect(await send(inUsdc)).toMatchObject({ status: 200, body: { balance: "0.10", repeated: false } });
  expect(await shop.books(payer)).toMatchObject({ balance: 100_000n });
});

test("whoever saw a token's payment on the chain can do nothing with it", async () => {
  const owner = await createTokenBuyer(shop, shop.play.mint);
  const purchase = await order(shop, owner, "/topup", body);
  await purchase.send();
  const stranger = await shop.customer(0n);
  const { play } = await offers();
  const seen = JSON.parse(
    Buffer.from(purchase.payment["PAYMENT-SIGNATURE"] ?? "", "base64").toString("utf8"),
  ) as { accepted: PaymentRequirements };
  const { token: _token, ...known } = seen.accepted.extra;
  for (const extra of [known, { ...known, token: play.extra["token"] }]) {
    const header = JSON.stringify({ ...seen, accepted: { ...seen.accepted, extra } });
    const payment = { "PAYMENT-SIGNATURE": Buffer.from(header).toString("base64") };
    const init = post(body);
    const headers = {
      ...(init.headers as Record<string, string>),
      authorization: `Bearer ${stranger.secret}`,
    };
    const answer = await read(await buyer.send(`${shop.url}/topup`, { ...init, headers }, payment));
    expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
    expect(answer.text).not.toContain(owner.address);
  }
  expect((await shop.books(stranger.account)).balance).toBe(0n);
});
