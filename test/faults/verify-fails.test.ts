import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Fault, faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness } from "./audit.ts";

let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  shop = await openShop();
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterEach(() => auditor.audit());
afterAll(async () => {
  await auditor.close();
  await shop.close();
});

const EXPIRED = "invalid_exact_svm_transaction_simulation_failed";

describe("verify fails", () => {
  const unavailable = { status: 503, code: "facilitator_unavailable", retryAfter: 2 };
  const invalid = { status: 402, code: "payment_invalid" };

  /** `times`: verify is asked once more after a connection error. */
  test.each<{
    name: string;
    fault: Fault;
    times?: number;
    answer: object;
    reason: string | RegExp;
    watched?: true;
  }>([
    { name: "reset", fault: faults.reset, times: 2, answer: unavailable, reason: /^connection_lost/ },
    { name: "500", fault: faults.status(500), answer: unavailable, reason: "http_500" },
    { name: "502 as HTML", fault: faults.html, answer: unavailable, reason: "http_502" },
    { name: "429", fault: faults.status(429), answer: unavailable, reason: "http_429" },
    { name: "401", fault: faults.status(401), answer: unavailable, reason: "http_401" },
    { name: "200 with garbage", fault: faults.garbage200, answer: unavailable, reason: "malformed_reply" },
    { name: "wrong shape", fault: faults.wrongShape, answer: unavailable, reason: "malformed_reply" },
    { name: "truncated", fault: faults.truncated, times: 2, answer: unavailable, reason: /^connection_lost/ },
    {
      name: "answer dropped",
      fault: faults.dropAfter,
      times: 2,
      answer: unavailable,
      reason: /^connection_lost/,
    },
    { name: "hangs until the time limit", fault: faults.hang, answer: unavailable, reason: "timeout" },
    {
      name: "yes with status 500",
      fault: faults.status(500, { isValid: true }),
      answer: unavailable,
      reason: "http_500",
    },
    {
      name: "refused",
      fault: faults.reason("insufficient_funds"),
      answer: invalid,
      reason: "insufficient_funds",
    },
    {
      name: "refused with status 400",
      fault: faults.status(400, { isValid: false, invalidReason: "invalid_payload" }),
      answer: invalid,
      reason: "invalid_payload",
    },
    {
      name: "refused in words unknown",
      fault: faults.reason("moon_phase"),
      answer: invalid,
      reason: "moon_phase",
    },
    {
      name: "refused by simulation",
      fault: faults.reason(EXPIRED),
      answer: invalid,
      reason: EXPIRED,
      watched: true,
    },
  ])("$name: nothing is spent, and the same payment works afterwards", async (row) => {
    const sale = await auditor.sell();
    const upstream = shop.upstream.calls.length;
    shop.facilitator.fail("verify", row.fault, row.times ?? 1);

    expect(await sale.send()).toMatchObject({ ...row.answer, settles: 0 });
    expect(shop.upstream.calls.length).toBe(upstream);
    const record = await auditor.record(sale);
    expect(record).toMatchObject({ state: "released", watched: row.watched ?? false });
    expect(record?.reason).toMatch(row.reason);
    expect(auditor.moved(sale)).toBe(0);

    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    expect(await auditor.state(sale)).toBe("delivered");
    expect(auditor.moved(sale)).toBe(1);
    expect(shop.upstream.calls.length).toBe(upstream + 1);
  });

  test("one connection error: verify is asked again, and nobody notices", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("verify", faults.reset);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("refused connection: keeps saying so, then works", async () => {
    const sale = await auditor.sell();
    await shop.facilitator.down();
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    expect(await sale.send()).toMatchObject(unavailable);
    expect((await auditor.record(sale))?.reason).toMatch(/^connect_failed/);
    // Who has not paid yet is still told the terms.
    expect((await fetch(sale.url, sale.init)).status).toBe(402);
    await shop.facilitator.up();
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("the payment has expired before verify: refused, moves nothing, and is forgotten", async () => {
    const sale = await auditor.sell();
    shop.localnet.warp(151);
    expect(await sale.send()).toMatchObject({ ...invalid, settles: 0 });
    expect(await auditor.record(sale)).toMatchObject({ state: "released", watched: true });
  });
});
