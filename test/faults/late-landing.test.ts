import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createBuyer } from "../support/buyer.ts";
import { faults, type LateLanding } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, type Sale } from "./audit.ts";

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

const refusal = faults.reason("insufficient_funds");
const refused = { status: 402, code: "payment_refused", settles: 1 };
const unknown = { status: 503, code: "settlement_unknown", retryAfter: 2 };
const unavailable = { status: 503, code: "facilitator_unavailable" };

const sweep = () => auditor.sweep();

async function land(sale: Sale, late: LateLanding): Promise<void> {
  await late.release();
  expect(auditor.moved(sale)).toBe(1);
}

async function expectCredited(sale: Sale): Promise<void> {
  const { ledger } = shop.gateway;
  expect(await auditor.record(sale)).toMatchObject({ state: "credited", watched: false });
  const entries = await ledger.journal(sale.account);
  expect(entries).toMatchObject([{ reference: `payment:${sale.id}`, amount: 20_000n, balance: 20_000n }]);
  const answer = await sale.send();
  expect(answer).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
  expect(answer.error?.details).toMatchObject({ account: sale.account });
}

test.each([401, 403])(
  "lands after a %d, which a proxy may give that passed the payment on: credited, once",
  async (status) => {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", faults.status(status));
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 1 });
    await sweep();
    await land(sale, late);
    await sweep();
    await expectCredited(sale);
  },
);

describe("lands after a refusal", () => {
  /** A sale that was refused and whose transfer is still on its way. */
  async function refuse(): Promise<{ sale: Sale; late: LateLanding }> {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", refusal);
    expect(await sale.send()).toMatchObject(refused);
    await sweep();
    expect(await auditor.record(sale)).toMatchObject({ state: "released", watched: true });
    return { sale, late };
  }

  test("nobody retries: credited, once", async () => {
    const { sale, late } = await refuse();
    await land(sale, late);
    await Promise.all([sweep(), shop.gateway.payments.reconciler.reconcile(sale.id)]);
    await sweep();
    await expectCredited(sale);
  });

  test("retried before the sweep: told of its credit, not to pay again", async () => {
    const { sale, late } = await refuse();
    await land(sale, late);
    expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    await expectCredited(sale);
  });

  test("retried and served first: delivered, and the late copy moves nothing", async () => {
    const { sale, late } = await refuse();
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
    await land(sale, late);
    await sweep();
    expect(await auditor.state(sale)).toBe("delivered");
    expect(await shop.gateway.ledger.balance(sale.account)).toBe(0n);
  });

  test("while the retry is being verified: credited", async () => {
    const { sale, late } = await refuse();
    const verify = shop.facilitator.hold("verify");
    const retry = sale.send();
    await verify.arrived;
    await land(sale, late);
    verify.release();
    expect(await retry).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    await expectCredited(sale);
  });

  test("while the retry settles: one delivery", async () => {
    const { sale, late } = await refuse();
    const settle = shop.facilitator.hold("settle");
    const retry = sale.send();
    await settle.arrived;
    await land(sale, late);
    settle.release();
    // The facilitator has met it before, and says so.
    expect(await retry).toMatchObject({ ...unknown, settles: 1 });
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(await auditor.state(sale)).toBe("delivered");
  });

  test("after a retry that could not be verified: still watched, and credited", async () => {
    const { sale, late } = await refuse();
    shop.facilitator.fail("verify", faults.status(500));
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    await land(sale, late);
    await sweep();
    await expectCredited(sale);
  });

  test("after a retry that could not be settled: still watched, and credited", async () => {
    const { sale, late } = await refuse();
    shop.facilitator.fail("settle", faults.status(401));
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 1 });
    await land(sale, late);
    await sweep();
    await expectCredited(sale);
  });

  test("after a retry whose client left: still watched, and credited", async () => {
    const { sale, late } = await refuse();
    const verify = shop.facilitator.hold("verify");
    const leaving = new AbortController();
    const retry = fetch(sale.url, {
      ...sale.init,
      headers: { "content-type": "application/json", ...sale.payment },
      signal: leaving.signal,
    });
    await verify.arrived;
    expect(await auditor.state(sale)).toBe("open");
    leaving.abort();
    await expect(retry).rejects.toThrow();
    verify.release();
    await expect.poll(() => auditor.state(sale), { interval: 10, timeout: 10_000 }).toBe("released");
    await land(sale, late);
    await sweep();
    await expectCredited(sale);
  });
});

describe("lands after an unknown settlement", () => {
  test.each([
    { name: "a reset connection", fault: faults.reset },
    { name: "the time limit", fault: faults.hang },
    { name: "an error on the way", fault: faults.reason("transaction_failed") },
  ])("$name: the retry is served, and paid once", async ({ fault }) => {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", fault);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 0 });
    await land(sale, late);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(await auditor.state(sale)).toBe("delivered");
  });

  test("a twin signed meanwhile is left unspent, and served by the first", async () => {
    const buyer = await createBuyer(shop);
    const body = { user: "twin", messages: [{ role: "user", content: "the same" }] };
    const first = await auditor.sell({ buyer, body });
    const late = shop.facilitator.lateLanding("settle", faults.reset);
    expect(await first.send()).toMatchObject({ ...unknown, settles: 1 });
    const twin = await auditor.sell({ buyer, body });
    expect(twin.id).not.toBe(first.id);
    expect(await twin.send()).toMatchObject({ ...unknown, settles: 0 });
    await land(first, late);
    const answer = await twin.send();
    expect(answer).toMatchObject({ status: 200, settles: 0 });
    expect(auditor.moved(twin)).toBe(0);
    expect(await auditor.state(first)).toBe("delivered");
  });
});

describe("lands by another hand", () => {
  /** Has it settled by somebody who saw the payload, as a second server of the same merchant would. */
  async function settleElsewhere(sale: Sale): Promise<void> {
    shop.facilitator.fail("verify", faults.status(500));
    expect(await sale.send()).toMatchObject({ ...unavailable, settles: 0 });
    const body = JSON.stringify(shop.facilitator.log.at(-1)?.body);
    const headers = { "content-type": "application/json" };
    const settled = await fetch(`${shop.localnet.facilitatorUrl}/settle`, { method: "POST", headers, body });
    expect(await settled.json()).toMatchObject({ success: true });
    expect(auditor.moved(sale)).toBe(1);
  }

  test("v2: the token says that it was meant for us, so it is credited", async () => {
    const sale = await auditor.sell();
    await settleElsewhere(sale);
    expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    await expectCredited(sale);
  });

  test("v1: it may have bought something there, so it is worth nothing here", async () => {
    const sale = await createAuditor(shop).sell({ v1: true });
    await settleElsewhere(sale);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(await sale.send()).toMatchObject({ status: 402, code: "payment_invalid", settles: 0 });
      await sweep();
    }
    expect(await shop.gateway.ledger.journal(sale.account)).toEqual([]);
  });
});
