import { generateKeyPairSync, randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { SOLANA_DEVNET_CAIP2, USDC_DEVNET_ADDRESS } from "@x402/svm";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Farebox, FareboxError } from "../../client/farebox.ts";
import { type Localnet, startLocalnet } from "../../localnet/index.ts";
import { startRpcProxy } from "../faults/rpc-proxy.ts";
import { type Customer, openCustomer, transfersOf } from "./farebox-setting.ts";
import type { Listening } from "./listen.ts";
import { DECLARATION, decode, fail, OPTION, type Seller, type Step, serve, startSeller } from "./seller.ts";

let localnet: Localnet;
const open: Listening[] = [];
beforeAll(async () => {
  localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 });
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});
afterAll(() => localnet.close());

const terms = () => ({
  ...OPTION,
  payTo: localnet.merchant,
  extra: { feePayer: localnet.feePayer, memo: randomUUID() },
});

async function setUp(script: readonly Step[], options = {}, change = {}) {
  const seller = await startSeller(script, { ...DECLARATION, accepts: [{ ...terms(), ...change }] });
  open.push(seller);
  const who = await openCustomer({ localnet, url: seller.url }, options);
  return { seller, who };
}

/** Settles what it is given and says 402 all the same. */
function takeAndRefuse(code: string): Step {
  return async (req, res) => {
    const paymentPayload = decode(req.headers["payment-signature"]?.toString());
    await fetch(`${localnet.facilitatorUrl}/settle`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ x402Version: 2, paymentPayload, paymentRequirements: paymentPayload.accepted }),
    });
    await fail(402, code)(req, res);
  };
}

const signedAndSent = ({ signed }: Customer, seller: Seller) => [signed(), seller.payments().length];

test.each([
  ["the default limit", {}, { amount: "50001" }],
  ["a limit of its own", { maxPrice: "$0.019999" }, {}],
  ["a limit as a bigint", { maxPrice: 19_999n }, {}],
])("dearer than %s: nothing is signed", async (_what, options, change) => {
  const { seller, who } = await setUp([serve("{}")], options, change);
  const call = who.farebox.agent("Hi");
  await expect(call).rejects.toMatchObject({ name: "FareboxError", code: "too_dear", payment: undefined });
  expect(signedAndSent(who, seller)).toEqual([0, 0]);
});

test("exactly the limit is paid", async () => {
  const { seller, who } = await setUp([serve('{"reply":"a","model":"m"}')], {}, { amount: "50000" });
  expect(await who.farebox.agent("Hi")).toEqual({ reply: "a", model: "m" });
  expect(signedAndSent(who, seller)).toEqual([1, 1]);
});

test.each([
  ["another network", { network: SOLANA_DEVNET_CAIP2, asset: USDC_DEVNET_ADDRESS }],
  ["another token", { asset: USDC_DEVNET_ADDRESS }],
])("only %s is offered: nothing is signed", async (_what, change) => {
  const { seller, who } = await setUp([serve("{}")], {}, change);
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code: "not_payable" });
  expect(signedAndSent(who, seller)).toEqual([0, 0]);
});

test.each(["payment_refused", "because"])(
  "402 %s for ever, and the money is taken: one payment",
  async (code) => {
    const { seller, who } = await setUp([takeAndRefuse(code)]);
    await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code, status: 402 });
    expect(signedAndSent(who, seller)).toEqual([1, 1]);
    expect(transfersOf(who, { localnet })).toBe(1);
  },
);

test.each([
  ["took it", 1, takeAndRefuse],
  ["did not take it", 2, (code: string) => fail(402, code)],
])(
  "402 in no words of Farebox's, and the chain %s: once it would not any more, %i signed in all",
  async (_what, signed, refuse) => {
    let now = Date.now();
    const { seller, who } = await setUp([refuse("because")], { now: () => now });
    const call = () =>
      expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code: "because", status: 402 });
    for (let calls = 0; calls < 3; calls += 1) await call();
    now += 61_000;
    await call();
    expect([who.signed(), new Set(seller.payments()).size]).toEqual([1, 1]);
    localnet.warp(200);
    await call();
    expect(who.signed()).toBe(signed);
    expect(transfersOf(who, { localnet })).toBe(signed === 1 ? 1 : 0);
  },
);

test("402 in no words of Farebox's and a node that is gone: no second payment", async () => {
  let now = Date.now();
  const rpc = await startRpcProxy();
  rpc.forwardTo(localnet.rpcUrl);
  const { who } = await setUp([fail(402, "because")], { now: () => now, rpcUrl: rpc.url });
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code: "because" });
  localnet.warp(200);
  now += 61_000;
  rpc.fail("getSignaturesForAddress", { status: 500, body: "" });
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code: "because" });
  expect(who.signed()).toBe(1);
  rpc.repair();
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code: "because" });
  expect(who.signed()).toBe(2);
  await rpc.close();
});

test("402 in Farebox's words after an outage: that payment is over, and the next one buys the answer", async () => {
  const late = fail(402, "payment_expired");
  const { seller, who } = await setUp([
    fail(503, "facilitator_unavailable", "86400"),
    late,
    serve('{"reply":"a","model":"m"}'),
  ]);
  const outage = await who.farebox.agent("Hi").catch((error: unknown) => error);
  expect(outage).toMatchObject({ code: "facilitator_unavailable", status: 503 });
  expect(who.farebox.unfinished()).toEqual([(outage as FareboxError).payment]);
  expect(await who.farebox.agent("Hi")).toEqual({ reply: "a", model: "m" });
  expect(signedAndSent(who, seller)).toEqual([2, 3]);
  expect(who.farebox.unfinished()).toEqual([]);
});

test.each([
  [409, "payment_credited", 2],
  [409, "response_not_stored", 2],
  [409, "payment_already_used", 2],
  [502, "upstream_unreachable", 1],
  [500, "internal_error", 1],
  [429, "too_many_payments", 1],
])("%i %s is told; the same call again has signed %i in all", async (status, code, signed) => {
  const { who } = await setUp([fail(status, code)]);
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code, status });
  await expect(who.farebox.agent("Hi")).rejects.toMatchObject({ code, status });
  expect(who.signed()).toBe(signed);
});

test("a settlement that stays unknown is asked about beyond the deadline, and other calls do not wait for it", async () => {
  let now = 0;
  const sleep = async (ms: number) => {
    now += ms;
  };
  const clock = { now: () => now, sleep };
  const unknown = await setUp([fail(503, "settlement_unknown", "10")], clock);
  await expect(unknown.who.farebox.agent("Hi")).rejects.toMatchObject({ code: "settlement_unknown" });
  expect(now).toBe(600_000);
  now = 0;
  const busy = await setUp([fail(409, "payment_in_progress", "10")], clock);
  await expect(busy.who.farebox.agent("Hi")).rejects.toMatchObject({ code: "payment_in_progress" });
  expect(now).toBe(120_000);
  now = 0;
  const untaken = await setUp([fail(503, "facilitator_unavailable", "10")], clock);
  await expect(untaken.who.farebox.agent("Hi")).rejects.toMatchObject({ code: "facilitator_unavailable" });
  expect(now).toBe(90_000);
  expect([unknown, busy, untaken].map(({ who }) => who.signed())).toEqual([1, 1, 1]);
});

test("a seller that is gone after signing: outcome_unknown with the payment, which a log does not show", async () => {
  let now = 0;
  const { seller, who } = await setUp([(req) => void req.socket.destroy()], {
    now: () => now,
    sleep: async (ms: number) => {
      now += ms;
    },
  });
  const error = await who.farebox.agent("Hi").catch((fault: unknown) => fault);
  expect(error).toBeInstanceOf(FareboxError);
  const { code, payment } = error as FareboxError;
  expect([code, payment?.headers["PAYMENT-SIGNATURE"]]).toEqual(["outcome_unknown", seller.payments()[0]]);
  const shown = inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error);
  expect(shown).not.toContain(seller.payments()[0]?.slice(0, 40));
});

test.each([
  ["the numbers of a keypair file", (secret: Uint8Array) => [...secret]],
  ["bytes", (secret: Uint8Array) => secret],
])("a secret key as %s is a wallet", async (_what, form) => {
  const secret = keypairBytes();
  const seller = await startSeller([serve('{"reply":"a","model":"m"}')], {
    ...DECLARATION,
    accepts: [terms()],
  });
  open.push(seller);
  const farebox = new Farebox({ baseUrl: seller.url, wallet: form(secret), rpcUrl: localnet.rpcUrl });
  expect(await farebox.agent("Hi")).toEqual({ reply: "a", model: "m" });
  expect(await farebox.getBalance()).toBe(0n);
});

test.each(["not base58 0OIl", "1111", [1, 2, 3], new Uint8Array(64)])(
  "%j is no wallet, and the error does not repeat it",
  async (wallet) => {
    const farebox = new Farebox({ wallet, rpcUrl: localnet.rpcUrl });
    const error = await farebox.getBalance().catch((fault: unknown) => fault);
    expect(error).toMatchObject({ code: "invalid_wallet" });
    expect((error as Error).cause).toBeUndefined();
    expect((error as Error).message).not.toContain(String(wallet));
  },
);

test.each([
  [{ apiKey: "" }, "apiKey"],
  [{ apiKey: "k", baseUrl: "no url" }, "baseUrl"],
  [{ wallet: [1], maxPrice: "lots" }, "maxPrice"],
])("%j is refused at once", (options, named) => {
  expect(() => new Farebox(options)).toThrow(named);
});

test("something that never was a payment is not sent", async () => {
  const { who } = await setUp([]);
  const made = { method: "POST", url: "file:///etc/passwd", headers: {}, body: null, signedAt: 0 };
  await expect(who.farebox.resume(made)).rejects.toMatchObject({ code: "invalid_payment" });
});

function keypairBytes(): Uint8Array {
  const { d = "", x = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  return new Uint8Array(Buffer.concat([Buffer.from(d, "base64url"), Buffer.from(x, "base64url")]));
}
