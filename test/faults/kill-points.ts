import { expect } from "vitest";
import type { PaymentState } from "../../server/ledger/ledger.ts";
import { faults, type LateLanding } from "../support/faulty-facilitator.ts";
import type { Shop } from "../support/shop.ts";
import type { Exchange, Sale } from "./audit.ts";

const STREAM = { stream: true };
export const undecidedYet = { status: 503, code: "settlement_unknown", retryAfter: 2, settles: 0 };
export const served = { status: 200, settles: 0 };
const charged = { status: 200, settles: 1 };
export const expired = { status: 402, code: "payment_invalid", settles: 0 };
const credited = { status: 409, code: "payment_credited", settles: 0 };

/** Sends a payment to the child, which will not live to answer; or reads what it says. */
export function request(sale: Sale): Promise<Response> {
  const response = fetch(sale.url, {
    ...sale.init,
    headers: { ...(sale.init.headers as Record<string, string>), ...sale.payment },
  });
  response.catch(() => {});
  return response;
}

async function expectText(sale: Sale, status: number): Promise<void> {
  const response = await request(sale);
  await response.text();
  expect(response.status).toBe(status);
}

/** A moment to be killed at. */
export interface Point {
  readonly name: string;
  readonly path?: string;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Configures the process that is killed. */
  readonly yaml?: string;
  /** Brings a call there. A function that it returns is called once the process is dead. */
  reach(shop: Shop, sale: Sale): Promise<unknown>;
  readonly found: PaymentState;
  /** What the same payment is answered after the restart; its lease has ended with the process, if it had one. */
  readonly retries: readonly Partial<Exchange>[];
  /** Where it stands if nobody retries: once the lease has run out, and once it counts as abandoned. */
  readonly swept: PaymentState;
  readonly abandoned: PaymentState;
}

async function lateLanding(sale: Sale, late: LateLanding): Promise<() => Promise<unknown>> {
  void request(sale);
  await late.arrived;
  return () => late.release();
}

/** Every state that a payment can be found in, and what must become of it. */
export const points: readonly Point[] = [
  {
    name: "open, being verified",
    async reach(shop, sale) {
      const verify = shop.facilitator.hold("verify");
      void request(sale);
      await verify.arrived;
      return verify.release;
    },
    found: "open",
    retries: [charged],
    swept: "open",
    abandoned: "open",
  },
  {
    name: "open, the upstream at work",
    async reach(shop, sale) {
      const held = shop.upstream.hold();
      void request(sale);
      await held.arrived;
      return held.release;
    },
    found: "open",
    retries: [charged],
    swept: "open",
    abandoned: "open",
  },
  {
    name: "settling, and it lands after the kill",
    reach: (shop, sale) => lateLanding(sale, shop.facilitator.lateLanding("settle", faults.hang)),
    found: "settling",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "settling, and it landed before the kill",
    async reach(shop, sale) {
      const late = shop.facilitator.lateLanding("settle", faults.hang);
      void request(sale);
      await late.arrived;
      await late.release();
    },
    found: "settling",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "settled, the stream half out",
    body: STREAM,
    async reach(shop, sale) {
      const stream = shop.upstream.stream();
      const response = request(sale);
      await stream.delta("One ");
      const reader = (await response).body?.getReader();
      expect(new TextDecoder().decode((await reader?.read())?.value)).toContain("One ");
      reader?.closed.catch(() => {});
    },
    found: "settled",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "settled upfront, the upstream at work",
    path: "/dear",
    async reach(shop, sale) {
      const held = shop.upstream.hold();
      void request(sale);
      await held.arrived;
      return held.release;
    },
    found: "settled",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "settled at the settle-by deadline, the upstream at work",
    yaml: "payment: { settleBy: 1s }",
    async reach(shop, sale) {
      const held = shop.upstream.hold();
      void request(sale);
      await held.arrived;
      await shop.facilitator.nextCall("settle");
      return held.release;
    },
    found: "settled",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "settled, the client gone before its answer",
    async reach(shop, sale) {
      const settle = shop.facilitator.hold("settle");
      const leaving = new AbortController();
      const headers = { ...(sale.init.headers as Record<string, string>), ...sale.payment };
      const response = fetch(sale.url, { ...sale.init, headers, signal: leaving.signal });
      await settle.arrived;
      leaving.abort();
      await expect(response).rejects.toThrow();
      settle.release();
    },
    found: "settled",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "delivered",
    reach: (_shop, sale) => expectText(sale, 200),
    found: "delivered",
    retries: [served, served],
    swept: "delivered",
    abandoned: "delivered",
  },
  {
    name: "unknown, and it lands after the kill",
    async reach(shop, sale) {
      const late = shop.facilitator.lateLanding("settle", faults.reset);
      await expectText(sale, 503);
      return () => late.release();
    },
    found: "unknown",
    retries: [served],
    swept: "settled",
    abandoned: "credited",
  },
  {
    name: "refused, and it lands after the kill",
    async reach(shop, sale) {
      const late = shop.facilitator.lateLanding("settle", faults.reason("insufficient_funds"));
      await expectText(sale, 402);
      return () => late.release();
    },
    found: "released",
    retries: [credited],
    swept: "credited",
    abandoned: "credited",
  },
  {
    name: "owed",
    body: STREAM,
    async reach(shop, sale) {
      const stream = shop.upstream.stream();
      const response = request(sale);
      await stream.delta("One ");
      const { body } = await response;
      await stream.breakOff();
      await expect(new Response(body).text()).rejects.toThrow();
    },
    found: "credited",
    retries: [credited, credited],
    swept: "credited",
    abandoned: "credited",
  },
];
