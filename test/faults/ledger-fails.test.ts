import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Facilitator, FacilitatorRequest } from "../../facilitator-client/types.ts";
import type { UsageFacts } from "../../server/ledger/call-ledger.ts";
import { type ClaimRequest, LedgerFault } from "../../server/ledger/ledger.ts";
import { createLeaseKeeper } from "../../server/payment/leases.ts";
import { createX402Charge } from "../../server/payment/x402-charge.ts";
import { request } from "../ledger/world.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { answers } from "../support/model-upstream-answers.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness } from "./audit.ts";
import { endLease } from "./dead-gateway.ts";

let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  shop = await openShop();
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await auditor.audit();
});
afterAll(async () => {
  await auditor.close();
  await shop.close();
});

const FAULT = new LedgerFault("injected");
const unavailable = { status: 503, code: "ledger_unavailable", retryAfter: 2 };
const unknown = { status: 503, code: "settlement_unknown", retryAfter: 2 };
const busy = { status: 409, code: "payment_in_progress", settles: 0 };

const failOnce = (step: "claim" | "beginSettle" | "settled" | "unknown" | "release" | "deliver") =>
  vi.spyOn(shop.gateway.ledger, step).mockRejectedValueOnce(FAULT);

describe("one step of the ledger fails", () => {
  test("claim: nothing is served, and the same payment works afterwards", async () => {
    const sale = await auditor.sell();
    failOnce("claim");
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("before settle: nothing is sent, and the same payment works once its lease has run out", async () => {
    const sale = await auditor.sell();
    failOnce("beginSettle");
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    expect(await sale.send()).toMatchObject(busy);
    endLease(shop, sale.id);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("settled: not served on a record that was not written; the retry is, on the same settlement", async () => {
    const sale = await auditor.sell();
    failOnce("settled");
    const answer = await sale.send();
    expect(answer).toMatchObject({ ...unknown, settles: 1 });
    expect(answer.text).not.toContain("Hello");
    expect(auditor.moved(sale)).toBe(1);
    expect(await sale.send()).toMatchObject(busy);
    endLease(shop, sale.id);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  });

  test("refused: without a record of it, it is not told", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.reason("insufficient_funds"));
    failOnce("release");
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    endLease(shop, sale.id);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 0 });
    expect(await auditor.state(sale)).toBe("unknown");
  });

  test("unknown: decided by its lease", async () => {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", faults.reset);
    failOnce("unknown");
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    expect(await auditor.state(sale)).toBe("settling");
    await late.release();
    endLease(shop, sale.id);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  });

  test("deliver: the answer stands, and nothing is charged again", async () => {
    const sale = await auditor.sell();
    failOnce("deliver");
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    expect(await sale.send()).toMatchObject(busy);
    endLease(shop, sale.id);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(await auditor.state(sale)).toBe("delivered");
  });
});

test("an upstream's failure is told while the ledger cannot free the payment", async () => {
  const sale = await auditor.sell();
  const release = vi.spyOn(shop.gateway.ledger, "release").mockRejectedValue(FAULT);
  shop.upstream.next(answers.failure());
  expect(await sale.send()).toMatchObject({ status: 502, settles: 0 });
  expect(await auditor.state(sale)).toBe("open");
  release.mockRestore();
  await vi.waitUntil(async () => (await auditor.state(sale)) === "released", { timeout: 10_000 });
});

describe("a lease is let go of", () => {
  const outcomes = {
    ok: { outcome: "ok", transaction: "tx", payer: undefined, network: "solana" },
    refused: { outcome: "refused", reason: "insufficient_funds" },
    not_sent: { outcome: "not_sent", reason: "ECONNREFUSED" },
    unknown: { outcome: "unknown", reason: "timeout", transaction: undefined },
  } as const;

  function factsOf({ payer, route }: ClaimRequest): UsageFacts {
    return {
      tier: "x402",
      account: `wallet:${payer}`,
      keyId: undefined,
      keyLabel: undefined,
      payer,
      route,
      model: undefined,
      provider: undefined,
      promptTokens: undefined,
      completionTokens: undefined,
      estimated: false,
      held: 0n,
      upstreamCost: undefined,
      status: 200,
      upstreamStatus: 200,
      ms: 1,
      transaction: "tx",
      notCharged: undefined,
    };
  }

  /** A charge of a new payment of its own, on the shop's ledger. */
  async function openCharge(outcome: keyof typeof outcomes) {
    const { ledger } = shop.gateway;
    const claim = request();
    const claimed = await ledger.claim(claim);
    if (claimed.outcome !== "claimed") throw new Error(claimed.outcome);
    const leases = createLeaseKeeper(ledger, claim.leaseMs, () => {});
    const settle = vi.fn(async () => outcomes[outcome]);
    const ignore = () => {};
    const onEnd = vi.fn();
    const charge = createX402Charge(
      {
        ledger,
        leases,
        leaseMs: claim.leaseMs,
        strikeMs: 60_000,
        storeTtlMs: 1_000,
        proof: async () => ({}),
        onUnknown: ignore,
        onFault: ignore,
        onCredited: ignore,
        onState: ignore,
      },
      {
        ...claim,
        fence: claimed.fence,
        createdAt: claimed.createdAt,
        path: "/agent",
        request: {} as FacilitatorRequest,
        facilitator: { ...({} as Facilitator), settle },
        settleBy: 0,
        upfront: false,
        responseKeys: () => [],
        settledAs: undefined,
        usage: async () => factsOf(claim),
        onEnd,
        onRefused: () => {},
      },
    );
    return { charge, leases, settle, onEnd, claim, account: `wallet:${claim.payer}` };
  }

  test("delivered, and the ledger's answer is lost: the usage is recorded once", async () => {
    const { ledger } = shop.gateway;
    const { charge, leases, onEnd, account } = await openCharge("ok");
    const deliver = ledger.deliver.bind(ledger);
    vi.spyOn(ledger, "deliver").mockImplementationOnce(async (...step) => {
      await deliver(...step);
      throw FAULT;
    });
    expect(await charge.settle(() => false)).toMatchObject({ outcome: "settled" });
    expect(await charge.capture({ delivered: true, response: undefined })).toBe(true);
    expect(onEnd).not.toHaveBeenCalled();
    expect(await ledger.usage({ account, limit: 10 })).toMatchObject([{ charged: 20_000n }]);
    expect(leases.size).toBe(0);
  });

  test.each([
    { outcome: "refused", fails: undefined },
    { outcome: "not_sent", fails: undefined },
    { outcome: "unknown", fails: undefined },
    { outcome: "ok", fails: "beginSettle" },
    { outcome: "ok", fails: "settled" },
    { outcome: "refused", fails: "release" },
    { outcome: "not_sent", fails: "release" },
    { outcome: "unknown", fails: "unknown" },
  ] as const)("settle comes to $outcome, failing step: $fails", async ({ outcome, fails }) => {
    const { charge, leases } = await openCharge(outcome);
    expect(leases.size).toBe(1);
    if (fails !== undefined) failOnce(fails);
    expect(await charge.settle(() => false)).toMatchObject({ outcome: "failed" });
    // Kept alive, it would keep the record from the reconciler for as long as the process runs.
    expect(leases.size).toBe(0);
    leases.close();
  });

  test("its client left while the settlement was being written down: nothing is sent, and the payer pays upfront next", async () => {
    const { ledger } = shop.gateway;
    const { charge, leases, settle, claim } = await openCharge("ok");
    expect(await charge.settle(() => true)).toMatchObject({ outcome: "failed" });
    expect(settle).not.toHaveBeenCalled();
    expect(await ledger.payment(claim.id)).toMatchObject({ state: "released", reason: "client_left" });
    expect(leases.size).toBe(0);
    expect(await ledger.claim(claim)).toMatchObject({ outcome: "claimed", upfront: true });
    await ledger.release(claim.id, 2, { reason: "client_left", watched: false, strikeMs: 0 });
  });

  test("a call that ends late does not let go of its successor's", async () => {
    const { ledger } = shop.gateway;
    const leases = createLeaseKeeper(ledger, 60, () => {});
    const claim = request({ leaseMs: 1 });
    const fences: number[] = [];
    await vi.waitUntil(
      async () => {
        const claimed = await ledger.claim(claim);
        if (claimed.outcome === "claimed") fences.push(claimed.fence);
        return fences.length === 2;
      },
      { interval: 5, timeout: 10_000 },
    );
    const [first = 0, second = 0] = fences;
    leases.hold(claim.id, first);
    leases.hold(claim.id, second);
    leases.drop(claim.id, first);
    expect(leases.size).toBe(1);
    leases.drop(claim.id, second);
    expect(leases.size).toBe(0);
    leases.close();
  });

  test("a renewal that came too late does not let go of the successor's", async () => {
    const { ledger } = shop.gateway;
    const claim = request({ leaseMs: 1 });
    await ledger.claim(claim);
    let answer: (lost: readonly string[]) => void = () => {};
    const lost = new Promise<readonly string[]>((resolve) => {
      answer = resolve;
    });
    const renew = vi.spyOn(ledger, "renew").mockImplementationOnce(() => lost);
    const leases = createLeaseKeeper(ledger, 30, () => {});
    leases.hold(claim.id, 1);
    await vi.waitUntil(() => renew.mock.calls.length > 0, { interval: 1, timeout: 10_000 });
    leases.hold(claim.id, 2);
    answer([claim.id]);
    await lost;
    expect(leases.size).toBe(1);
    leases.close();
  });
});
