import { connect } from "node:net";
import type { PaymentPayload } from "@x402/core/types";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { paymentId } from "../support/buyer.ts";
import { keepLines } from "../support/log-lines.ts";
import { refusal } from "../support/stub-facilitator.ts";
import { createForger, type Forger, v1, v2, withAccepted } from "./forger.ts";
import { type OpenGateway, openGateway } from "./open-gateway.ts";

const LIMIT = 3;
const PATH = "/report/1";
const REFUSED = refusal("insufficient_funds");
const YAML = `
routes:
  "GET /report/:id": { upstream: default, price: "$0.01" }
limits: { refusedPaymentsPerMinute: ${LIMIT}, trustedProxies: [127.0.0.1] }
`;

let gateway: OpenGateway;
const { destination, lines } = keepLines();
let verified: number;
let addresses = 0;

beforeAll(async () => {
  gateway = await openGateway(YAML, destination);
});
beforeEach(() => {
  verified = gateway.facilitator.calls.verify;
});
afterEach(() => {
  gateway.facilitator.answer("verify", undefined);
  gateway.facilitator.answer("settle", undefined);
});
afterAll(() => gateway.close());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly code: string | undefined;
}

/** As the proxy in front hands it on: from the address it names. */
async function send(
  address: string,
  payment: Record<string, string>,
  path = PATH,
  method = "GET",
): Promise<Answer> {
  const headers = { ...payment, "x-forwarded-for": address };
  const response = await fetch(gateway.url + path, { method, headers });
  const text = await response.text();
  const { error } = text.startsWith("{") ? JSON.parse(text) : { error: undefined };
  const code = typeof error === "string" ? error : error?.code;
  return { status: response.status, headers: response.headers, text, code };
}

function newWallet(): Promise<Forger> {
  return createForger(gateway.rpc.url);
}

/** An address that no other test uses. */
function newAddress(): string {
  addresses += 1;
  return `192.0.2.${addresses}`;
}

async function sign(wallet?: Forger): Promise<PaymentPayload> {
  const signer = wallet ?? (await newWallet());
  return signer.sign(await signer.challenge(gateway.url + PATH));
}

/** As many refused payments as the limit allows, each by a wallet of its own. */
async function useUp(address: string): Promise<void> {
  gateway.facilitator.answer("verify", REFUSED);
  for (let count = 0; count < LIMIT; count += 1) {
    expect(await send(address, v2(await sign()))).toMatchObject({ status: 402, code: "payment_invalid" });
  }
  gateway.facilitator.answer("verify", undefined);
}

/** Questions that reached the facilitator in this test. */
function asked(): number {
  return gateway.facilitator.calls.verify - verified;
}

describe("an address whose payments the facilitator refused", () => {
  test("is 429 before the facilitator is asked; others pay, and it is still told the terms", async () => {
    const address = newAddress();
    await useUp(address);
    const payment = await sign();
    const { status, code, headers } = await send(address, v2(payment));
    expect([status, code]).toEqual([429, "too_many_refused_payments"]);
    const seconds = Number(headers.get("retry-after"));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    expect(headers.get("ratelimit-limit")).toBe(String(LIMIT));
    expect(headers.get("ratelimit-remaining")).toBe("0");
    expect(headers.get("ratelimit-reset")).toBe(String(seconds));
    expect(asked()).toBe(LIMIT);
    expect((await send(address, {})).status).toBe(402);
    expect(await gateway.ledger.payment(paymentId(v2(payment)))).toBeUndefined();
    // Nothing of the payment is used up: it only has to come later, or from elsewhere.
    expect((await send(newAddress(), v2(payment))).status).toBe(200);
  });

  test("still gets the stored answer of what it paid for", async () => {
    const address = newAddress();
    const payment = await sign();
    const served = await send(address, v2(payment));
    expect(served.status).toBe(200);
    await useUp(address);
    expect((await send(address, v2(await sign()))).status).toBe(429);
    const again = await send(address, v2(payment));
    expect([again.status, again.text]).toEqual([200, served.text]);
    expect(again.headers.get("payment-response")).toBe(served.headers.get("payment-response"));
    expect(asked()).toBe(1 + LIMIT);
  });

  test("cannot get round it by sending at once", async () => {
    const address = newAddress();
    const payments = await Promise.all(Array.from({ length: 10 * LIMIT }, () => sign()));
    gateway.facilitator.answer("verify", REFUSED);
    const answers = await Promise.all(payments.map((payment) => send(address, v2(payment))));
    expect(asked()).toBeGreaterThanOrEqual(LIMIT);
    expect(asked()).toBeLessThanOrEqual(2 * LIMIT);
    const unasked = answers.filter(({ code }) => code === "too_many_refused_payments");
    expect(unasked).toHaveLength(payments.length - asked());
    // A claim that was given back can be made again.
    gateway.facilitator.answer("verify", undefined);
    const elsewhere = newAddress();
    for (const payment of payments.slice(-LIMIT)) {
      expect((await send(elsewhere, v2(payment))).status).toBe(200);
    }
  });
});

describe("what does not count", () => {
  test("payments that are good, however many come at once", async () => {
    const address = newAddress();
    const payments = await Promise.all(Array.from({ length: 10 * LIMIT }, () => sign()));
    const answers = await Promise.all(payments.map((payment) => send(address, v2(payment))));
    expect(answers.map(({ status }) => status)).toEqual(payments.map(() => 200));
  });

  test("payments that die in the local checks: they never reach the facilitator", async () => {
    const address = newAddress();
    const payment = await sign();
    const bogus = [
      { "PAYMENT-SIGNATURE": "not base64" },
      { "PAYMENT-SIGNATURE": Buffer.from("{}").toString("base64") },
      v2(withAccepted(payment, { amount: "1" })),
      v2(withAccepted(payment, {}, { token: "made-up" })),
      v2({ ...payment, payload: { transaction: Buffer.alloc(200, 1).toString("base64") } }),
    ];
    for (let round = 0; round < LIMIT; round += 1) {
      for (const headers of bogus) expect([400, 402]).toContain((await send(address, headers)).status);
    }
    expect(asked()).toBe(0);
    expect((await send(address, v2(payment))).status).toBe(200);
  });

  test.each([
    ["fails", { status: 500, body: {} }, 503],
    ["no longer has the fee payer it named", refusal("fee_payer_not_managed_by_facilitator"), 402],
  ])("payments that a facilitator cannot judge that %s", async (_, answer, status) => {
    const address = newAddress();
    gateway.facilitator.answer("verify", answer);
    for (let count = 0; count <= LIMIT; count += 1) {
      expect((await send(address, v2(await sign()))).status).toBe(status);
    }
    gateway.facilitator.answer("verify", undefined);
    expect((await send(address, v2(await sign()))).status).toBe(200);
  });
});

describe("a wallet whose payments the facilitator refused", () => {
  test.each(["verify", "settle"] as const)("to %s is 429 from any address; others are not", async (step) => {
    const wallet = await newWallet();
    gateway.facilitator.answer(step, REFUSED);
    for (let count = 0; count < LIMIT; count += 1) {
      expect((await send(newAddress(), v2(await sign(wallet)))).status).toBe(402);
    }
    gateway.facilitator.answer(step, undefined);
    const address = newAddress();
    expect(await send(address, v2(await sign(wallet)))).toMatchObject({
      status: 429,
      code: "too_many_refused_payments",
    });
    expect(asked()).toBe(LIMIT);
    expect((await send(address, v2(await sign()))).status).toBe(200);
  });

  test("in protocol v1 is not blamed: anybody may have copied its payment from the chain", async () => {
    const wallet = await newWallet();
    const address = newAddress();
    gateway.facilitator.answer("verify", REFUSED);
    for (let count = 0; count < LIMIT; count += 1) {
      const required = await wallet.challenge(gateway.url + PATH);
      const [offer] = required.accepts;
      if (offer === undefined) throw new Error("no offer");
      const terms = { ...offer, extra: { ...offer.extra, memo: `copied ${count}` } };
      const copied = await wallet.sign({ ...required, accepts: [terms] });
      expect(await send(address, v1(copied))).toMatchObject({ status: 402 });
    }
    gateway.facilitator.answer("verify", undefined);
    expect(asked()).toBe(LIMIT);
    expect((await send(address, v2(await sign()))).status).toBe(429);
    expect((await send(newAddress(), v2(await sign(wallet)))).status).toBe(200);
  });
});

/** Whether the payment of this address that was answered last had been checked after everybody else's. */
async function isHeldBack(address: string): Promise<boolean> {
  const seen = lines.length;
  await send(address, { "payment-signature": "x" });
  await expect.poll(() => lines.slice(seen).filter(({ tier }) => tier === "x402")).toHaveLength(1);
  return lines.slice(seen).some(({ heldBack }) => heldBack === true);
}

describe("an address past the limit is held back", () => {
  test.each<[string, (address: string, payment: PaymentPayload) => Promise<number>]>([
    ["what cannot be read", async (address) => (await send(address, { "payment-signature": "x" })).status],
    [
      "a payment for another price",
      async (address, payment) => (await send(address, v2(withAccepted(payment, { amount: "1" })))).status,
    ],
    [
      "one that was used for another request",
      async (address, payment) => {
        await send(newAddress(), v2(payment));
        return (await send(address, v2(payment), "/report/2")).status;
      },
    ],
    [
      "a good one with an invalid request",
      async (address, payment) => (await send(address, v2(payment), PATH, "HEAD")).status,
    ],
  ])("after %s", async (_, offend) => {
    const address = newAddress();
    for (let count = 0; count < LIMIT; count += 1) {
      expect(await offend(address, await sign())).toBeGreaterThanOrEqual(400);
    }
    expect(await isHeldBack(address)).toBe(true);
    // It pays all the same.
    expect((await send(address, v2(await sign()))).status).toBe(200);
  });

  test("not after what may be sent again as it is, nor after questions for the price", async () => {
    const address = newAddress();
    gateway.facilitator.answer("verify", { status: 500, body: {} });
    for (let count = 0; count <= LIMIT; count += 1) {
      expect((await send(address, v2(await sign()))).status).toBe(503);
      expect((await send(address, {})).status).toBe(402);
    }
    gateway.facilitator.answer("verify", undefined);
    expect(await isHeldBack(address)).toBe(false);
  });
});

test("bogus payments of one address are held back, while others pay", async () => {
  const MANY = 3_000;
  const address = newAddress();
  for (let count = 0; count < LIMIT; count += 1) {
    expect((await send(address, { "payment-signature": "x" })).status).toBe(400);
  }
  const bogus = `GET ${PATH} HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: ${address}\r\nPAYMENT-SIGNATURE: x\r\n\r\n`;
  const begun = performance.now();
  const flood = connect(Number(new URL(gateway.url).port), "127.0.0.1").setEncoding("latin1");
  flood.write(bogus.repeat(MANY));
  const payment = v2(await sign());
  let answers = "";
  let paid: Promise<Answer> | undefined;
  let answeredBefore = 0;
  for await (const chunk of flood) {
    answers += chunk;
    paid ??= send(newAddress(), payment).finally(() => {
      answeredBefore = countOf(answers);
    });
    if (countOf(answers) === MANY) break;
  }
  expect(await paid).toMatchObject({ status: 200 });
  expect(answeredBefore).toBeLessThan(MANY);
  // A timer's tick each, at least; a tick may come a little early.
  expect(performance.now() - begun).toBeGreaterThan(MANY / 2);
});

function countOf(answers: string): number {
  return answers.split("HTTP/1.1 400 ").length - 1;
}
