import { afterAll, beforeAll, expect, test } from "vitest";
import { SETTLE_REASONS } from "../../facilitator-client/reasons.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness } from "./audit.ts";

let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  const limits = "limits: { refusedPaymentsPerMinute: 1000 }";
  shop = await openShop({ yaml: `payment: { strikeFor: 0s }\n${limits}` });
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterAll(async () => {
  await auditor.close();
  await shop.close();
});

const reasons = [...SETTLE_REASONS].map(([reason, meaning]) => ({ reason, meaning }));
const variants = reasons.flatMap(({ reason, meaning }) =>
  // A detail after a colon is no other reason.
  reason.includes("too_high") ? [{ reason: `${reason}: 5 exceeds max 3`, meaning }] : [],
);
const unlisted = ["", "moon_phase", "INSUFFICIENT_FUNDS", "insufficient_funds "].map((reason) => ({
  reason,
  meaning: "unknown" as const,
}));

// The reason plays no part in what follows a refusal, so that is seen to the end for some of them.
const cases = [...reasons, ...variants, ...unlisted].map((row, index) => ({
  ...row,
  retried: index % 8 === 0,
}));

test.each(cases)("'$reason' is $meaning", async ({ reason, meaning, retried }) => {
  const sale = await auditor.sell();
  const upstream = shop.upstream.calls.length;
  shop.facilitator.fail("settle", faults.reason(reason));
  const answer = await sale.send();
  const record = await auditor.record(sale);

  expect(answer.text).not.toContain("Hello");
  if (meaning === "refused") {
    expect(answer).toMatchObject({ status: 402, code: "payment_refused", settles: 1 });
    expect(record).toMatchObject({ state: "released", watched: true, reason });
    if (!retried) return;
    // The same payment is claimed anew, and this time the facilitator settles it.
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    expect(await auditor.record(sale)).toMatchObject({ state: "delivered", watched: false });
    expect(auditor.moved(sale)).toBe(1);
  } else {
    expect(answer).toMatchObject({ status: 503, code: "settlement_unknown", retryAfter: 2, settles: 1 });
    expect(record).toMatchObject({ state: "unknown", reason: reason || "no_reason" });
    expect(await sale.send()).toMatchObject({ status: 503, code: "settlement_unknown", settles: 0 });
    expect(shop.upstream.calls.length).toBe(upstream + 1);
    expect(auditor.moved(sale)).toBe(0);
  }
});
