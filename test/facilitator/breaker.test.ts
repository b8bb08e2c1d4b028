import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type BreakerState,
  type GuardedFacilitator,
  guardFacilitator,
} from "../../facilitator-client/breaker.ts";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import type { Facilitator } from "../../facilitator-client/types.ts";
import {
  type Fault,
  type FaultyFacilitator,
  faults,
  startFaultyFacilitator,
} from "../support/faulty-facilitator.ts";
import { createManualClock, type ManualClock } from "../support/manual-clock.ts";
import { type StubFacilitator, startStubFacilitator } from "../support/stub-facilitator.ts";
import { paymentRequest } from "./payment-request.ts";

const FEE_PAYER = "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd";
const FAILURES = 3;
const HALF_OPEN_AFTER_MS = 1_500;

let stub: StubFacilitator;
let faulty: FaultyFacilitator;
let client: Facilitator;
let clock: ManualClock;
let guarded: GuardedFacilitator;
let changes: (readonly [BreakerState, string | undefined])[];

beforeAll(async () => {
  stub = await startStubFacilitator({ feePayer: FEE_PAYER });
  faulty = await startFaultyFacilitator(stub.url);
});
beforeEach(() => {
  client = createHttpFacilitator({
    url: faulty.url,
    verifyTimeoutMs: 200,
    settleTimeoutMs: 200,
    supportedTimeoutMs: 200,
  });
  clock = createManualClock();
  changes = [];
  guarded = guardFacilitator(client, {
    failures: FAILURES,
    halfOpenAfterMs: HALF_OPEN_AFTER_MS,
    onChange: (state, reason) => changes.push([state, reason]),
    clock,
  });
});
afterEach(async () => {
  faulty.clear();
  await faulty.up();
  await client.close();
});
afterAll(async () => {
  await faulty.close();
  await stub.close();
});

const OPEN = { outcome: "not_sent", reason: "breaker_open" };

describe("verify and settle", () => {
  /** `verify` is asked once more after a connection error, so it meets the fault twice. */
  test.each<[string, "verify" | "settle", Fault, number, string]>([
    ["verify: 500", "verify", faults.status(500), 1, "http_500"],
    ["verify: 502 as HTML", "verify", faults.html, 1, "http_502"],
    ["verify: garbage", "verify", faults.garbage200, 1, "malformed_reply"],
    ["verify: no answer in time", "verify", faults.hang, 1, "timeout"],
    ["verify: connections reset", "verify", faults.reset, 2, "connection_lost:ECONNRESET"],
    ["settle: 503", "settle", faults.status(503), 1, "http_503"],
    ["settle: no answer in time", "settle", faults.hang, 1, "timeout"],
    ["settle: connections reset", "settle", faults.reset, 1, "connection_lost:ECONNRESET"],
    [
      "settle: a failure with 500",
      "settle",
      faults.status(500, { success: false, errorReason: "x" }),
      1,
      "x",
    ],
  ])(
    "%s, again and again: open, and nothing more is sent",
    async (_name, operation, fault, meets, reason) => {
      faulty.fail(operation, fault, FAILURES * meets);
      for (let call = 1; call <= FAILURES; call += 1) {
        expect(guarded.state).toBe("closed");
        await guarded[operation](paymentRequest());
      }
      expect(changes).toEqual([["open", reason]]);
      const before = { ...faulty.calls };
      expect(await guarded.verify(paymentRequest())).toEqual(OPEN);
      expect(await guarded.settle(paymentRequest())).toEqual(OPEN);
      expect(faulty.calls).toEqual(before);
    },
  );

  test.each<[string, "verify" | "settle", Fault]>([
    ["a payment that is not valid", "verify", faults.reason("insufficient_funds")],
    ["one that is not valid, with 400", "verify", faults.status(400, { isValid: false })],
    ["a 4xx without a reply", "verify", faults.status(400)],
    ["a 429", "verify", faults.status(429)],
    ["a settlement refused", "settle", faults.reason("insufficient_funds")],
    ["a settlement that failed", "settle", faults.reason("transaction_failed")],
    ["a settlement that failed in a transport's words", "settle", faults.reason("timeout")],
    ["a 4xx to settle", "settle", faults.status(404)],
  ])("%s, however often: closed", async (_name, operation, fault) => {
    faulty.fail(operation, fault, FAILURES * 3);
    for (let call = 1; call <= FAILURES * 3; call += 1) await guarded[operation](paymentRequest());
    expect(guarded.state).toBe("closed");
    expect(changes).toEqual([]);
  });

  test("an answer in between begins the count anew", async () => {
    for (let round = 0; round < 2; round += 1) {
      faulty.fail("verify", faults.status(500), FAILURES - 1);
      for (let call = 1; call < FAILURES; call += 1) await guarded.verify(paymentRequest());
      expect(await guarded.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
    }
    expect(changes).toEqual([]);
  });

  test("a caller that leaves neither counts nor begins the count anew", async () => {
    faulty.fail("verify", faults.status(500), FAILURES - 1);
    for (let call = 1; call < FAILURES; call += 1) await guarded.verify(paymentRequest());
    for (let call = 0; call < FAILURES; call += 1) {
      expect(await guarded.verify(paymentRequest(), AbortSignal.abort())).toMatchObject({
        reason: "cancelled",
      });
    }
    expect(guarded.state).toBe("closed");
    faulty.fail("verify", faults.status(500));
    await guarded.verify(paymentRequest());
    expect(guarded.state).toBe("open");
  });

  test("a settle that was under way when it opened ends as it would have", async () => {
    client = createHttpFacilitator({ url: faulty.url, verifyTimeoutMs: 5_000, settleTimeoutMs: 5_000 });
    guarded = guardFacilitator(client, { failures: 1, halfOpenAfterMs: 0, onChange: () => undefined, clock });
    const hold = faulty.hold("settle");
    const settling = guarded.settle(paymentRequest());
    await hold.arrived;
    faulty.fail("verify", faults.status(500));
    await guarded.verify(paymentRequest());
    expect(guarded.state).toBe("open");
    hold.release();
    expect(await settling).toMatchObject({ outcome: "ok" });
    expect(guarded.state, "an answer to an old question closes nothing").toBe("open");
  });
});

describe("supported", () => {
  test("fails twice: open at once", async () => {
    faulty.fail("supported", faults.status(500), 2);
    expect(await guarded.supported()).toMatchObject({ outcome: "failed" });
    expect(changes).toEqual([["open", "http_500"]]);
    expect(await guarded.verify(paymentRequest())).toEqual(OPEN);
  });

  test("stays silent twice: open", async () => {
    faulty.fail("supported", faults.hang, 2);
    await guarded.supported();
    expect(changes).toEqual([["open", "timeout"]]);
  });

  test("fails once, or is asked too often: closed", async () => {
    faulty.fail("supported", faults.reset);
    expect(await guarded.supported()).toMatchObject({ outcome: "ok" });
    faulty.fail("supported", faults.status(429));
    expect(await guarded.supported()).toMatchObject({ outcome: "failed" });
    expect(changes).toEqual([]);
  });

  test("half-opens after its delay, not before; a good answer closes it", async () => {
    faulty.fail("supported", faults.status(500), 2);
    await guarded.supported();
    clock.advance(HALF_OPEN_AFTER_MS - 1);
    expect(await guarded.supported()).toMatchObject({ outcome: "ok" });
    expect(guarded.state).toBe("open");
    clock.advance(1);
    const hold = faulty.hold("supported");
    const asking = guarded.supported();
    await hold.arrived;
    expect(guarded.state).toBe("half_open");
    expect(await guarded.verify(paymentRequest())).toEqual(OPEN);
    hold.release();
    await asking;
    expect(changes.map(([state]) => state)).toEqual(["open", "half_open", "closed"]);
    expect(await guarded.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
  });

  test("half-open and bad: open again for its delay; and the machine's date does not matter", async () => {
    faulty.fail("supported", faults.status(500), 4);
    await guarded.supported();
    const date = vi.spyOn(Date, "now").mockReturnValue(0);
    clock.advance(HALF_OPEN_AFTER_MS);
    await guarded.supported();
    clock.advance(HALF_OPEN_AFTER_MS - 1);
    await guarded.supported();
    expect(guarded.state).toBe("open");
    clock.advance(1);
    await guarded.supported();
    date.mockRestore();
    expect(changes.map(([state]) => state)).toEqual(["open", "half_open", "open", "half_open", "closed"]);
  });

  test("good, while verify fails on: left alone for longer each time, until verify works", async () => {
    async function relapse(): Promise<void> {
      faulty.fail("verify", faults.status(500), FAILURES);
      for (let call = 0; call < FAILURES; call += 1) await guarded.verify(paymentRequest());
      expect(guarded.state).toBe("open");
    }
    async function stateAfter(ms: number): Promise<BreakerState> {
      clock.advance(ms);
      await guarded.supported();
      return guarded.state;
    }
    for (const times of [1, 2, 4, 8, 8]) {
      await relapse();
      expect(await stateAfter(times * HALF_OPEN_AFTER_MS - 1)).toBe("open");
      expect(await stateAfter(1)).toBe("closed");
    }
    expect(await guarded.verify(paymentRequest())).toMatchObject({ outcome: "ok" });
    await relapse();
    expect(await stateAfter(HALF_OPEN_AFTER_MS)).toBe("closed");
  });

  test("half-open and asked too often: it lives, and the count begins anew", async () => {
    faulty.fail("supported", faults.status(500), 2);
    await guarded.supported();
    clock.advance(HALF_OPEN_AFTER_MS);
    faulty.fail("supported", faults.status(429));
    await guarded.supported();
    expect(guarded.state).toBe("closed");
    faulty.fail("verify", faults.status(500));
    await guarded.verify(paymentRequest());
    expect(guarded.state).toBe("closed");
  });

  test("closed again, the count begins anew", async () => {
    faulty.fail("supported", faults.status(500), 2);
    await guarded.supported();
    clock.advance(HALF_OPEN_AFTER_MS);
    await guarded.supported();
    faulty.fail("verify", faults.status(500), FAILURES);
    for (let call = 1; call < FAILURES; call += 1) await guarded.verify(paymentRequest());
    expect(guarded.state).toBe("closed");
    await guarded.verify(paymentRequest());
    expect(guarded.state).toBe("open");
  });
});
