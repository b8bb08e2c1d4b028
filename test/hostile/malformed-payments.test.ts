import type { PaymentPayload, PaymentRequirements } from "@x402/core/types";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode, v1, v2, withAccepted } from "./forger.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import {
  CONTENT,
  HEADER_V1,
  HEADER_V2,
  openReportCounter,
  PATH,
  type ReportCounter,
} from "./report-counter.ts";
import type { Stall } from "./stall.ts";

let counter: ReportCounter;
let stall: Stall;
let unused: PaymentPayload;
let delivered: PaymentPayload;
let unusedV1: ReportCounter["unusedV1"];

beforeAll(async () => {
  counter = await openReportCounter();
  ({ stall, unused, delivered, unusedV1 } = counter);
});

afterAll(() => counter.close());

/** Refused by our own checks: nothing ran, and nobody was asked. */
async function refused(headers: Record<string, string | string[]>): ReturnType<ReportCounter["ask"]> {
  const answer = await counter.ask(headers);
  expect([400, 402, 409]).toContain(answer.status);
  expect(answer.text).not.toContain(CONTENT);
  expect(stall.ran).toHaveLength(1);
  expect(stall.facilitator.calls.verify).toBe(1);
  expect(stall.facilitator.calls.settle).toBe(1);
  return answer;
}

describe("a header that is no payment", () => {
  test.each<[string, string]>([
    ["empty", ""],
    ["a word", "please"],
    ["JSON that is not encoded", '{"x402Version":2}'],
    ["base64 of nothing", "===="],
    ["base64url", Buffer.from('{"x402Version":2,"a":"???>>>"}').toString("base64url")],
    ["base64 without its padding", encode({ x402Version: 2 }).replace(/=+$/, "")],
    ["base64 of an empty text", encode("")],
    ["base64 of null", encode(null)],
    ["base64 of a number", encode(2)],
    ["base64 of a list", encode([2])],
    ["base64 of an empty object", encode({})],
    ["base64 of broken JSON", Buffer.from('{"x402Version":2').toString("base64")],
    ["base64 of a byte that is no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]).toString("base64")],
    ["base64 of JSON with a byte order mark", Buffer.from('\ufeff{"x402Version":2}').toString("base64")],
    ["only a version", encode({ x402Version: 2 })],
    ["nested too deeply", Buffer.from(`${"[".repeat(4000)}${"]".repeat(4000)}`).toString("base64")],
    ["too long", "A".repeat(12_292)],
    ["non-ASCII", "\xe4\xf6\xfc\xff"],
  ])("%s is 400", async (_name, value) => {
    expect((await refused({ [HEADER_V2]: value })).status).toBe(400);
    expect((await refused({ [HEADER_V1]: value })).status).toBe(400);
  });

  test.each([0, 1, 3, 2.5, -2, "2", null, 1e300])("version %s is 400", async (x402Version) => {
    expect((await refused(v2({ ...unused, x402Version }))).status).toBe(400);
  });

  test("a header of control characters never reaches us, one beyond the server's limit is 431", async () => {
    const control = await rawRequest(stall.port, requestBytes("GET", PATH, [`${HEADER_V2}: a\0b`]));
    const huge = await rawRequest(
      stall.port,
      requestBytes("GET", PATH, [`${HEADER_V2}: ${"A".repeat(65_536)}`]),
    );
    expect(control.statuses).toEqual([400]);
    expect(huge.statuses).toEqual([431]);
    await refused({ [HEADER_V2]: "" });
  });
});

describe("a valid payment, misplaced", () => {
  test("the header twice", async () => {
    const header = encode(unused);
    expect((await refused({ [HEADER_V2]: [header, header] })).status).toBe(400);
    expect((await refused({ [HEADER_V1]: [encode(unusedV1), encode(unusedV1)] })).status).toBe(400);
  });

  test("a broken v2 header is not saved by a valid v1 header beside it", async () => {
    expect((await refused({ [HEADER_V2]: "junk", [HEADER_V1]: encode(unusedV1) })).status).toBe(400);
  });

  test("v2 in the v1 header and the reverse", async () => {
    expect((await refused({ [HEADER_V1]: encode(unused) })).status).toBe(400);
    expect((await refused({ [HEADER_V2]: encode(unusedV1) })).status).toBe(400);
  });

  test("a transaction signed under v2 does not count as v1, where no token is asked for", async () => {
    expect((await refused(v1(unused))).status).toBe(402);
    expect((await refused(v1(delivered))).status).toBe(402);
  });

  test("a transaction signed under v1 does not count as v2", async () => {
    expect((await refused(v2({ ...unused, payload: unusedV1["payload"] }))).status).toBe(402);
  });
});

describe("a valid payment, altered", () => {
  test.each<[string, (payment: PaymentPayload) => unknown]>([
    ["no token", (payment) => withAccepted(payment, {}, { token: undefined })],
    ["an empty token", (payment) => withAccepted(payment, {}, { token: "" })],
    ["the memo as token", (payment) => withAccepted(payment, {}, { token: payment.accepted.extra["memo"] })],
    ["a token that is no text", (payment) => withAccepted(payment, {}, { token: { a: 1 } })],
    ["no memo", (payment) => withAccepted(payment, {}, { memo: undefined })],
    ["another memo", (payment) => withAccepted(payment, {}, { memo: "A".repeat(24) })],
    ["another feePayer", (payment) => withAccepted(payment, {}, { feePayer: payment.accepted.payTo })],
    ["no extra", ({ accepted: { extra: _, ...rest }, ...payment }) => ({ ...payment, accepted: rest })],
    ["a lower amount", (payment) => withAccepted(payment, { amount: "1" })],
    ["the same amount, written otherwise", (payment) => withAccepted(payment, { amount: "020000" })],
    ["another payTo", (payment) => withAccepted(payment, { payTo: payment.accepted.asset })],
    ["payTo and asset swapped", swapPayTo],
    ["no transaction", (payment) => ({ ...payment, payload: {} })],
    ["an empty transaction", (payment) => ({ ...payment, payload: { transaction: "" } })],
    ["a transaction that is none", (payment) => ({ ...payment, payload: { transaction: "AAAA" } })],
  ])("%s", async (_name, alter) => {
    await refused(v2(alter(unused)));
    await refused(v2(alter(delivered)));
  });

  // Of a recorded payment nobody asks whether its terms are still today's.
  test.each<[string, Partial<PaymentRequirements>]>([
    ["another network", { network: "solana:devnet" }],
    ["another scheme", { scheme: "upto" }],
    ["a longer time", { maxTimeoutSeconds: 86_400 }],
  ])("%s, before it was used", async (_name, change) => {
    expect((await refused(v2(withAccepted(unused, change)))).status).toBe(402);
  });

  test("another payment's token, or its transaction", async () => {
    const { token, memo } = delivered.accepted.extra;
    expect((await refused(v2(withAccepted(unused, {}, { token })))).status).toBe(402);
    expect((await refused(v2(withAccepted(unused, {}, { token, memo })))).status).toBe(402);
    expect((await refused(v2({ ...unused, payload: delivered.payload }))).status).toBe(402);
  });
});

function swapPayTo(payment: PaymentPayload): PaymentPayload {
  const { payTo, asset } = payment.accepted;
  return withAccepted(payment, { payTo: asset, asset: payTo });
}
