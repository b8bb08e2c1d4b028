import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import type { Facilitator } from "../../facilitator-client/types.ts";
import {
  type Fault,
  type FaultyFacilitator,
  faults,
  startFaultyFacilitator,
} from "../support/faulty-facilitator.ts";
import { type StubFacilitator, startStubFacilitator } from "../support/stub-facilitator.ts";
import { paymentRequest } from "./payment-request.ts";

const FEE_PAYER = "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd";
const SIGNATURE = "5".repeat(88);
const MALFORMED = "malformed_reply";

let stub: StubFacilitator;
let faulty: FaultyFacilitator;
let client: Facilitator;

beforeAll(async () => {
  stub = await startStubFacilitator({ feePayer: FEE_PAYER });
  faulty = await startFaultyFacilitator(stub.url);
});
afterAll(async () => {
  await faulty.close();
  await stub.close();
});
afterEach(async () => {
  faulty.clear();
  await client.close();
});

function connect(limits: { verifyTimeoutMs?: number; settleTimeoutMs?: number } = {}): Facilitator {
  client = createHttpFacilitator({
    url: faulty.url,
    verifyTimeoutMs: 10_000,
    settleTimeoutMs: 10_000,
    ...limits,
  });
  return client;
}

function big(): string {
  return JSON.stringify({ isValid: true, success: true, padding: "x".repeat(1024 * 1024) });
}

describe("settle", () => {
  const success = { success: true, transaction: SIGNATURE, network: "solana:x", payer: "P" };
  const failure = (errorReason: string) => ({ success: false, errorReason, transaction: "", network: "" });

  test.each<[string, Fault, Record<string, unknown>]>([
    ["a connection reset", faults.reset, { outcome: "unknown", reason: "connection_lost:ECONNRESET" }],
    ["a drop after it landed", faults.dropAfter, { outcome: "unknown" }],
    ["HTML", faults.html, { outcome: "unknown", reason: "http_502" }],
    ["200 with garbage", faults.garbage200, { outcome: "unknown", reason: MALFORMED }],
    ["200 with other JSON", faults.wrongShape, { outcome: "unknown", reason: MALFORMED }],
    ["a truncated body", faults.truncated, { outcome: "unknown" }],
    ["an oversized body", faults.status(200, big()), { outcome: "unknown", reason: "oversized_reply" }],
    [
      "a success without a transaction",
      faults.status(200, { ...success, transaction: "" }),
      { outcome: "unknown" },
    ],
    [
      "a success with a word for one",
      faults.status(200, { ...success, transaction: "pending" }),
      { outcome: "unknown" },
    ],
    ["a success without a network", faults.status(200, { ...success, network: "" }), { outcome: "unknown" }],
    [
      "a success with 202",
      faults.status(202, success),
      { outcome: "ok", transaction: SIGNATURE, payer: "P" },
    ],
    ["a success with 400", faults.status(400, success), { outcome: "unknown", transaction: SIGNATURE }],
    ["a success with 500", faults.status(500, success), { outcome: "unknown", transaction: SIGNATURE }],
    ["a listed reason", faults.reason("invalid_payload"), { outcome: "refused", reason: "invalid_payload" }],
    ["a listed reason with 400", faults.status(400, failure("insufficient_funds")), { outcome: "refused" }],
    ["a listed reason with 500", faults.status(500, failure("insufficient_funds")), { outcome: "unknown" }],
    ["an unlisted reason", faults.reason("cosmic_rays"), { outcome: "unknown", reason: "cosmic_rays" }],
    ["no reason", faults.status(200, { success: false }), { outcome: "unknown", reason: "no_reason" }],
    [
      "a reason that may have landed, with its hint",
      faults.reason("transaction_failed", SIGNATURE),
      { outcome: "unknown", reason: "transaction_failed", transaction: SIGNATURE },
    ],
    [
      "a hint that is none",
      faults.reason("transaction_failed", "0x12"),
      { outcome: "unknown", transaction: undefined },
    ],
    [
      "a reason that would break a log line",
      faults.reason("a\nb\u202e"),
      { outcome: "unknown", reason: "a?b?" },
    ],
    ["401", faults.status(401), { outcome: "not_sent", reason: "http_401" }],
    ["403", faults.status(403), { outcome: "not_sent", reason: "http_403" }],
    ...[301, 400, 404, 405, 408, 413, 429, 500, 502, 503, 504].map(
      (code): [string, Fault, Record<string, unknown>] => [
        String(code),
        faults.status(code),
        { outcome: "unknown", reason: `http_${code}` },
      ],
    ),
  ])("%s", async (_name, fault, expected) => {
    const before = faulty.calls.settle;
    faulty.fail("settle", fault);
    expect(await connect().settle(paymentRequest())).toMatchObject(expected);
    expect(faulty.calls.settle - before, "never sent a second time").toBe(1);
  });

  test("a success names the transaction", async () => {
    expect(await connect().settle(paymentRequest())).toEqual({
      outcome: "ok",
      transaction: stub.transactions.at(-1),
      payer: undefined,
      network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    });
  });

  test("a time limit that runs out after sending leaves it unknown, though it lands", async () => {
    const hold = faulty.hold("settle");
    const result = connect({ settleTimeoutMs: 50 }).settle(paymentRequest());
    await hold.arrived;
    expect(await result).toEqual({ outcome: "unknown", reason: "timeout", transaction: undefined });
    const settled = stub.calls.settle;
    const late = faulty.lateLanding("settle", faults.reason("transaction_failed"));
    await client.settle(paymentRequest());
    expect(stub.calls.settle).toBe(settled);
    expect(JSON.parse((await late.release()).body)).toMatchObject({ success: true });
    expect(stub.calls.settle).toBe(settled + 1);
    hold.release();
  });
});

describe("verify", () => {
  const no = { isValid: false, invalidReason: "invalid_payload" };

  test.each<[string, Fault, Record<string, unknown>, number]>([
    ["HTML", faults.html, { outcome: "unknown", reason: "http_502" }, 1],
    ["200 with garbage", faults.garbage200, { outcome: "unknown", reason: MALFORMED }, 1],
    ["200 with other JSON", faults.wrongShape, { outcome: "unknown", reason: MALFORMED }, 1],
    ["an oversized body", faults.status(200, big()), { outcome: "unknown", reason: "oversized_reply" }, 1],
    ["a refusal", faults.reason("invalid_payload"), { outcome: "refused", reason: "invalid_payload" }, 1],
    ["a refusal without a reason", faults.status(200, { isValid: false }), { outcome: "refused" }, 1],
    ["a refusal with 400", faults.status(400, no), { outcome: "refused", reason: "invalid_payload" }, 1],
    ["a refusal with 500", faults.status(500, no), { outcome: "unknown", reason: "http_500" }, 1],
    ["a yes with 400", faults.status(400, { isValid: true }), { outcome: "unknown", reason: "http_400" }, 1],
    ["a yes that is text", faults.status(200, { isValid: "true" }), { outcome: "unknown" }, 1],
    ["401", faults.status(401), { outcome: "not_sent", reason: "http_401" }, 1],
    ["404", faults.status(404), { outcome: "unknown", reason: "http_404" }, 1],
    ["429", faults.status(429), { outcome: "unknown", reason: "http_429" }, 1],
    ["one reset, then an answer", faults.reset, { outcome: "ok" }, 2],
    ["one truncated body, then an answer", faults.truncated, { outcome: "ok" }, 2],
    ["one drop after handling, then an answer", faults.dropAfter, { outcome: "ok" }, 2],
  ])("%s", async (_name, fault, expected, calls) => {
    const before = faulty.calls.verify;
    faulty.fail("verify", fault);
    expect(await connect().verify(paymentRequest())).toMatchObject(expected);
    expect(faulty.calls.verify - before).toBe(calls);
  });

  test("is retried once only", async () => {
    const before = faulty.calls.verify;
    faulty.fail("verify", faults.reset, 2);
    expect(await connect().verify(paymentRequest())).toMatchObject({ outcome: "unknown" });
    expect(faulty.calls.verify - before).toBe(2);
  });

  test("a time limit is not retried", async () => {
    const before = faulty.calls.verify;
    faulty.fail("verify", faults.hang);
    const result = await connect({ verifyTimeoutMs: 50 }).verify(paymentRequest());
    expect(result).toEqual({ outcome: "unknown", reason: "timeout" });
    expect(faulty.calls.verify - before).toBe(1);
  });

  test("a caller that leaves cancels it", async () => {
    const leave = new AbortController();
    faulty.fail("verify", faults.hang);
    const arrived = faulty.nextCall("verify");
    const result = connect().verify(paymentRequest(), leave.signal);
    await arrived;
    leave.abort();
    expect(await result).toEqual({ outcome: "unknown", reason: "cancelled" });
  });

  test("a caller that has left already sends nothing", async () => {
    const before = faulty.calls.verify;
    expect(await connect().verify(paymentRequest(), AbortSignal.abort())).toEqual({
      outcome: "not_sent",
      reason: "cancelled",
    });
    expect(faulty.calls.verify).toBe(before);
  });

  test("sends what it was given, as JSON", async () => {
    const request = paymentRequest();
    const arrived = faulty.nextCall("verify");
    expect(await connect().verify(request)).toEqual({ outcome: "ok", payer: undefined });
    const call = await arrived;
    expect(call.body).toEqual(request);
    expect(call.headers["content-type"]).toBe("application/json");
  });
});

describe("supported", () => {
  test("reads kinds and fee payers", async () => {
    expect(await connect().supported()).toEqual({
      outcome: "ok",
      kinds: [
        {
          x402Version: 2,
          scheme: "exact",
          network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
          feePayer: FEE_PAYER,
          signers: [FEE_PAYER],
        },
        { x402Version: 1, scheme: "exact", network: "solana", feePayer: FEE_PAYER, signers: [FEE_PAYER] },
      ],
    });
  });

  test("leaves out kinds it cannot read and fee payers that are no address", async () => {
    const kind = { x402Version: 2, scheme: "exact", network: "n:1" };
    const kinds = [
      null,
      { scheme: 3 },
      kind,
      { ...kind, extra: { feePayer: "nobody" } },
      { ...kind, extra: null },
    ];
    for (const signers of [
      undefined,
      null,
      [],
      { "n:1": "nobody" },
      { "n:1": ["nobody", 3], "m:*": [FEE_PAYER] },
    ]) {
      faulty.fail("supported", faults.status(200, { kinds, signers }));
      const read = { ...kind, feePayer: undefined, signers: [] };
      expect(await connect().supported()).toEqual({ outcome: "ok", kinds: [read, read, read] });
    }
    faulty.fail("supported", faults.status(200, { kinds: [kind], signers: { "n:*": [FEE_PAYER, 3] } }));
    expect(await connect().supported()).toMatchObject({ kinds: [{ signers: [FEE_PAYER] }] });
  });

  test.each<[string, Fault, string]>([
    ["500", faults.status(500), "http_500"],
    ["garbage", faults.garbage200, MALFORMED],
    ["no kinds", faults.wrongShape, MALFORMED],
    ["a reset", faults.reset, "connection_lost:ECONNRESET"],
  ])("%s is a failure", async (_name, fault, reason) => {
    faulty.fail("supported", fault);
    expect(await connect().supported()).toEqual({ outcome: "failed", reason });
  });
});
