import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Fault, faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY, type Sale } from "./audit.ts";

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

const unlanded: Sale[] = [];
const SIGNATURE = "5".repeat(88);
const unknown = { status: 503, code: "settlement_unknown", retryAfter: 2 };
const DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const unavailable = { status: 503, code: "facilitator_unavailable", retryAfter: 2 };

describe("settle fails, and the transfer has not landed", () => {
  test.each<{ name: string; fault: Fault; reason: string | RegExp }>([
    { name: "reset", fault: faults.reset, reason: /^connection_lost/ },
    { name: "500", fault: faults.status(500), reason: "http_500" },
    { name: "502 as HTML", fault: faults.html, reason: "http_502" },
    { name: "400", fault: faults.status(400), reason: "http_400" },
    { name: "429", fault: faults.status(429), reason: "http_429" },
    { name: "200 with garbage", fault: faults.garbage200, reason: "malformed_reply" },
    { name: "wrong shape", fault: faults.wrongShape, reason: "malformed_reply" },
    { name: "truncated", fault: faults.truncated, reason: /^connection_lost/ },
    { name: "hangs until the time limit", fault: faults.hang, reason: "timeout" },
    {
      name: "success with status 500",
      fault: faults.status(500, { success: true, transaction: SIGNATURE, network: "solana" }),
      reason: "http_500",
    },
    {
      name: "success without a transaction",
      fault: faults.status(200, { success: true, transaction: "", network: "solana" }),
      reason: "malformed_reply",
    },
    {
      name: "success on another network",
      fault: faults.status(200, { success: true, transaction: SIGNATURE, network: DEVNET }),
      reason: "other_network",
    },
    {
      name: "an allow-listed refusal with status 500",
      fault: faults.status(500, { success: false, errorReason: "insufficient_funds" }),
      reason: "insufficient_funds",
    },
    {
      name: "a failure that names a transaction nobody knows",
      fault: faults.reason("transaction_failed", SIGNATURE),
      reason: "transaction_failed",
    },
  ])("$name: unknown, and asking again settles nothing", async ({ fault, reason }) => {
    const sale = await auditor.sell();
    unlanded.push(sale);
    const upstream = shop.upstream.calls.length;
    shop.facilitator.fail("settle", fault);

    const first = await sale.send();
    expect(first).toMatchObject({ ...unknown, settles: 1 });
    expect(first.text).not.toContain("Hello");
    expect((await auditor.record(sale))?.reason).toMatch(reason);
    // The chain does not have it, and may yet.
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 0 });
    await auditor.sweep();
    expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });
    expect(shop.upstream.calls.length).toBe(upstream + 1);
  });
});

describe("settle was never handled", () => {
  test("refused connection: nothing was spent, and the same payment works afterwards", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("verify", faults.thenDown);
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    expect(await auditor.record(sale)).toMatchObject({ state: "released", watched: false });
    await shop.facilitator.up();
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    expect(auditor.moved(sale)).toBe(1);
  });

  test.each([401, 403])(
    "%d: our credentials were refused before the payment was looked at",
    async (status) => {
      const sale = await auditor.sell();
      shop.facilitator.fail("settle", faults.status(status));
      expect(await sale.send()).toMatchObject({ ...unavailable, settles: 1 });
      expect(await auditor.state(sale)).toBe("released");
      expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
      expect(auditor.moved(sale)).toBe(1);
    },
  );
});

describe("settle fails, and the transfer has landed", () => {
  test.each<{ name: string; fault: Fault; reason: RegExp }>([
    { name: "the answer is dropped", fault: faults.dropAfter, reason: /^connection_lost/ },
  ])("$name: the retry is served on the same settlement", async ({ fault }) => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", fault);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    expect(auditor.moved(sale)).toBe(1);

    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(await auditor.state(sale)).toBe("delivered");
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(auditor.moved(sale)).toBe(1);
  });

  test("nobody retries: the reconciler finds it, and it waits for its payer", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.dropAfter);
    await sale.send();
    await auditor.sweep();
    expect(await auditor.record(sale)).toMatchObject({ state: "settled", leased: false });
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  });

  test("protocol v1 cannot prove whose it is: found, it is credited instead of served", async () => {
    const sale = await auditor.sell({ v1: true });
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    const answer = await sale.send();
    expect(answer).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    expect(answer.error?.details).toMatchObject({ account: sale.account });
    expect(await shop.gateway.ledger.balance(sale.account)).toBe(20_000n);
  });

  test("the facilitator goes down right after: served, and the next one costs nothing", async () => {
    const sale = await auditor.sell();
    const next = await auditor.sell();
    shop.facilitator.fail("settle", faults.thenDown);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    expect(await next.send()).toMatchObject({ ...unavailable, settles: 0 });
    await shop.facilitator.up();
    expect(await next.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("a slow settlement within the limit is waited for", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.slow(300));
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });
});

describe("settle: upfront", () => {
  test("an unknown settlement never reaches the upstream; once it is found the call runs", async () => {
    const sale = await auditor.sell();
    const upstream = shop.upstream.calls.length;
    // A refusal after the upstream ran: from now on this payer settles first.
    shop.facilitator.fail("settle", faults.reason("insufficient_funds"));
    expect(await sale.send()).toMatchObject({ status: 402, code: "payment_refused", settles: 1 });
    expect(shop.upstream.calls.length).toBe(upstream + 1);
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    expect(shop.upstream.calls.length).toBe(upstream + 1);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(shop.upstream.calls.length).toBe(upstream + 2);
    expect(auditor.moved(sale)).toBe(1);
  });
});

/** Last: it makes two minutes of the chain pass at once, after which the known bound of its height is too low for a while. */
test("once they have expired, all that never landed are released, and move nothing when sent again", async () => {
  shop.localnet.warp(PAST_EXPIRY);
  const upstream = shop.upstream.calls.length;
  for (const sale of unlanded) {
    expect(await sale.send()).toMatchObject({ status: 402, code: "payment_invalid", settles: 0 });
    expect(await auditor.state(sale)).toBe("released");
    expect(auditor.moved(sale)).toBe(0);
  }
  expect(unlanded).toHaveLength(14);
  expect(shop.upstream.calls.length).toBe(upstream);
});
