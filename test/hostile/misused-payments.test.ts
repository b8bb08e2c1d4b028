import type { PaymentPayload, PaymentRequired, PaymentRequirements } from "@x402/core/types";
import express, { type RequestHandler } from "express";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { PaywallFactory } from "../../server/index.ts";
import { createTokenMint } from "../../server/payment/token.ts";
import { createForger, type Forger, v1, v2, withAccepted, withTerms } from "./forger.ts";
import { MERCHANT, openStall, SECRET, type Stall } from "./stall.ts";

const CONTENT = "what is sold";
const OTHER_SECRET = "another-secret-of-this-gateway-9876543210";
const EURC = "HzwqbKZw8HxMN6bF2yFZNrht3c2iXXzpKcFu7uBEDKtr";
const SOMEBODY = "EETubP5AKHgjPAhzPAFcb8BAY1hMH639CWCFTqi3hq1k";

let stall: Stall;
let forger: Forger;
let handled: number;
let asked: { verify: number; settle: number };

beforeAll(async () => {
  stall = await openStall("/report/1", shop);
  forger = await createForger(stall.rpc.url);
  stall.rpc.mints.add(EURC);
});

afterAll(() => stall.close());

beforeEach(() => {
  handled = stall.ran.length;
  asked = { ...stall.facilitator.calls };
});

function shop(paywall: PaywallFactory, ran: string[]) {
  const app = express();
  const handler: RequestHandler = (req, res) => {
    ran.push(`${req.method} ${req.originalUrl}`);
    res.json({ content: CONTENT });
  };
  const guard = paywall({ price: "$0.02" }) as RequestHandler;
  app.route("/report/:id").get(guard, handler).post(guard, handler);
  app.get("/dear/:id", paywall({ price: "$0.05" }) as RequestHandler, handler);
  return app;
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly text: string;
}

async function send(path: string, payment: Record<string, string>, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(stall.url + path, { ...init, headers: payment });
  const text = await response.text();
  const { error } = JSON.parse(text);
  return { status: response.status, code: typeof error === "string" ? error : error?.code, text };
}

/** Neither the handler nor the facilitator heard of it. */
function nothingHappened(): void {
  expect(stall.ran).toHaveLength(handled);
  expect(stall.facilitator.calls).toMatchObject({ verify: asked.verify, settle: asked.settle });
}

async function payFor(path: string, init?: RequestInit): Promise<PaymentPayload> {
  return forger.sign(await forger.challenge(stall.url + path, init));
}

describe("a payment for one call, at another", () => {
  test.each<[string, string, RequestInit]>([
    ["another path of the same route", "/report/2", {}],
    ["another method at the same price", "/report/1", { method: "POST" }],
    ["a dearer route", "/dear/1", {}],
    ["the same path in other letters", "/Report/1", {}],
    ["the same path with a slash behind", "/report/1/", {}],
    ["the same path, encoded", "/report/%31", {}],
  ])("%s", async (_name, path, init) => {
    const payment = await payFor("/report/1");
    expect(await send(path, v2(payment), init)).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
    expect((await send("/report/1", v2(payment))).status).toBe(200);
  });

  test("a dear call's payment is no good at a cheap one either", async () => {
    const payment = await payFor("/dear/1");
    expect(await send("/report/1", v2(payment))).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
  });

  test("once it was used: another query or another body is 409", async () => {
    const init = { method: "POST", body: "a body" };
    const payment = v2(await payFor("/report/1?page=1", init));
    expect((await send("/report/1?page=1", payment, init)).status).toBe(200);
    handled += 1;
    asked = { ...stall.facilitator.calls };
    for (const [path, body] of [
      ["/report/1?page=2", "a body"],
      ["/report/1", "a body"],
      ["/report/1?page=1&", "a body"],
      ["/report/1?page=1", "another body"],
      ["/report/1?page=1", ""],
    ] as const) {
      const answer = await send(path, payment, { method: "POST", body });
      expect(answer).toMatchObject({ status: 409, code: "payment_already_used" });
    }
    nothingHappened();
  });

  test("a v1 payment that was used buys nothing else, and is not replayed", async () => {
    const challenge = await fetch(`${stall.url}/report/1`);
    const { accepts } = (await challenge.json()) as PaymentRequired;
    const required = await forger.challenge(`${stall.url}/report/1`);
    const payment = v1(await forger.sign(withTerms(required, {}, { memo: accepts[0]?.extra["memo"] })));
    expect((await send("/report/1", payment)).status).toBe(200);
    handled += 1;
    asked = { ...stall.facilitator.calls };
    expect(await send("/report/2", payment)).toMatchObject({ status: 409, code: "payment_already_used" });
    expect(await send("/report/1", payment)).toMatchObject({ status: 409, code: "response_not_stored" });
    nothingHappened();
  });
});

describe("terms of the buyer's own making", () => {
  const cases: [string, Partial<PaymentRequirements>, Record<string, unknown>][] = [
    ["a lower amount", { amount: "1" }, {}],
    ["a higher amount", { amount: "50000" }, {}],
    ["another payTo", { payTo: SOMEBODY }, {}],
    ["another asset", { asset: EURC }, {}],
    ["another feePayer", {}, { feePayer: SOMEBODY }],
    ["another memo", {}, { memo: "A".repeat(24) }],
    ["another time", { maxTimeoutSeconds: 3600 }, {}],
  ];

  test.each(cases)("signed: %s", async (_name, change, extra) => {
    const required = withTerms(await forger.challenge(`${stall.url}/report/1`), change, extra);
    const payment = await forger.sign(required);
    expect(await send("/report/1", v2(payment))).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
  });

  test.each(cases)("signed, and the requirements restored: %s", async (_name, change, extra) => {
    const required = await forger.challenge(`${stall.url}/report/1`);
    const payment = await forger.sign(withTerms(required, change, extra));
    const [accepted] = required.accepts;
    const disguised = { ...payment, accepted: accepted ?? payment.accepted };
    const answer = await send("/report/1", v2(disguised));
    if (change.maxTimeoutSeconds === undefined) {
      expect(answer).toMatchObject({ status: 402, code: "payment_mismatch" });
      nothingHappened();
    } else {
      // The time is not in what is signed: this is the honest payment.
      expect(answer.status).toBe(200);
    }
  });

  test.each([
    ["lower", "1"],
    ["higher", "50000"],
  ])("v1 with a %s amount", async (_name, amount) => {
    const required = await forger.challenge(`${stall.url}/report/1`);
    const payment = await forger.sign(withTerms(required, { amount }, { memo: "a v1 memo" }));
    expect(await send("/report/1", v1(payment))).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
  });

  test.each(["solana-devnet", "base", ""])("v1 on network %j", async (network) => {
    const required = await forger.challenge(`${stall.url}/report/1`);
    const payment = await forger.sign(withTerms(required, {}, { memo: "a v1 memo" }));
    expect([400, 402]).toContain((await send("/report/1", v1(payment, network))).status);
    nothingHappened();
  });

  test.each<[string, Partial<PaymentRequirements>]>([
    ["another network", { network: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" }],
    ["another asset", { asset: EURC }],
    ["another scheme", { scheme: "upto" }],
  ])("written in afterwards: %s", async (_name, change) => {
    const payment = withAccepted(await payFor("/report/1"), change);
    expect(await send("/report/1", v2(payment))).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
  });
});

/** The challenge with a token that another mint has issued for it. */
function withToken(required: PaymentRequired, secret: string, ageMs: number): PaymentRequired {
  const mint = createTokenMint({ secrets: [secret], ttlMs: 300_000, clock: () => Date.now() - ageMs });
  const binding = { method: "GET", path: "/report/1", amount: "20000", payTo: MERCHANT };
  return withTerms(required, {}, mint.issue(binding));
}

describe("tokens", () => {
  test("a token of our own secret is good, an expired one is not", async () => {
    const required = await forger.challenge(`${stall.url}/report/1`);
    const expired = await forger.sign(withToken(required, SECRET, 301_000));
    expect(await send("/report/1", v2(expired))).toMatchObject({ status: 402, code: "payment_expired" });
    nothingHappened();
    const fresh = await forger.sign(withToken(required, SECRET, 290_000));
    expect((await send("/report/1", v2(fresh))).status).toBe(200);
  });

  test("another gateway's token, with its memo in the transaction", async () => {
    const required = await forger.challenge(`${stall.url}/report/1`);
    const payment = await forger.sign(withToken(required, OTHER_SECRET, 0));
    expect(await send("/report/1", v2(payment))).toMatchObject({ status: 402, code: "payment_mismatch" });
    nothingHappened();
  });
});

describe("a payload rebuilt from the public chain", () => {
  let delivered: PaymentPayload;
  let fresh: PaymentRequired;

  beforeAll(async () => {
    delivered = await payFor("/report/1");
    expect((await send("/report/1", v2(delivered))).text).toContain(CONTENT);
    fresh = await forger.challenge(`${stall.url}/report/1`);
  });

  test("the payer itself is given the stored answer again", async () => {
    expect((await send("/report/1", v2(delivered))).text).toContain(CONTENT);
    nothingHappened();
  });

  test.each<[string, (onChain: PaymentPayload) => Record<string, string>]>([
    ["without a token", (onChain) => v2(withAccepted(onChain, {}, { token: undefined }))],
    [
      "with the memo as token",
      (onChain) => v2(withAccepted(onChain, {}, { token: onChain.accepted.extra["memo"] })),
    ],
    ["with a token of zeros", (onChain) => v2(withAccepted(onChain, {}, { token: "A".repeat(48) }))],
    ["with the token of a challenge of one's own", (onChain) => v2(withAccepted(onChain, {}, ours("token")))],
    ["with its memo too", (onChain) => v2(withAccepted(onChain, {}, { ...ours("token"), ...ours("memo") }))],
    ["under v1, which has no tokens", (onChain) => v1(onChain)],
  ])("%s gets nothing", async (_name, rebuild) => {
    const answer = await send("/report/1", rebuild(delivered));
    expect([400, 402, 409]).toContain(answer.status);
    expect(answer.text).not.toContain(CONTENT);
    nothingHappened();
  });

  function ours(name: "token" | "memo"): Record<string, unknown> {
    return { [name]: fresh.accepts[0]?.extra[name] };
  }
});
