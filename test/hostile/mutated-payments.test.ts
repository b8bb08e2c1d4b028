import type { PaymentPayload } from "@x402/core/types";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode, v2 } from "./forger.ts";
import { meaning, mutation, printable } from "./mutations.ts";
import { CONTENT, HEADER_V1, HEADER_V2, openReportCounter, type ReportCounter } from "./report-counter.ts";
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

const BATCH = 50;
const RUNS = 80;

describe("10,000 and more mutations of honest payments", () => {
  test.each<[string, string, boolean, () => unknown]>([
    ["one that was never used", HEADER_V2, false, () => unused],
    ["one that was delivered", HEADER_V2, true, () => delivered],
    ["one of protocol v1", HEADER_V1, false, () => unusedV1],
  ])("%s", async (_name, header, recorded, payment) => {
    let sent = 0;
    let judged = 0;
    const honest = meaning(encode(payment()), recorded);
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: BATCH, maxLength: BATCH }), async (makes) => {
        const values = makes
          .map((make) => printable(make(payment())))
          .filter((value) => meaning(value, recorded) !== honest);
        sent += values.length;
        const answers = await Promise.all(
          values.map(async (value) => ({ value, ...(await counter.ask({ [header]: value })) })),
        );
        const wrong = answers.filter(
          ({ status, text }) => ![400, 402, 409].includes(status) || text.includes(CONTENT),
        );
        judged += answers.filter(({ status }) => status === 402).length;
        expect(wrong).toEqual([]);
        expect(stall.ran).toHaveLength(1);
        expect(stall.facilitator.calls.verify).toBe(1);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    expect(sent).toBeGreaterThan(3_400);
    // Not all of them fail at the first look.
    expect(judged).toBeGreaterThan(500);
  });

  test("and the payments they were made from are good to the end", async () => {
    expect((await counter.ask(v2(delivered))).text).toContain(CONTENT);
    expect(stall.ran).toHaveLength(1);
    expect((await counter.ask(v2(unused))).status).toBe(200);
    expect((await counter.ask({ [HEADER_V1]: encode(unusedV1) })).status).toBe(200);
    expect(stall.ran).toHaveLength(3);
  });
});
