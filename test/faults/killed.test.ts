import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { createLogger } from "../../server/log.ts";
import { startGateway } from "../../server/start.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY, type Sale } from "./audit.ts";
import { type ChildGateway, startChild } from "./child-gateway.ts";
import { type Aftermath, openAftermath, undecided, writtenState } from "./dead-gateway.ts";
import { expired, type Point, points, request, served, undecidedYet } from "./kill-points.ts";

let shop: Shop;
let auditor: Auditor;
let child: ChildGateway | undefined;
/** The ledger that is open in this process. */
let books: Ledger;

beforeAll(async () => {
  shop = await openShop({
    noGateway: true,
    yaml: `
routes:
  "POST /dear": { upstream: default, price: "$0.05", settle: upfront }
`,
  });
  auditor = createAuditor(shop, () => books);
});
afterAll(async () => {
  await child?.kill();
  await shop.close();
});

/** Two sales come to the point, and the process is killed; then one is retried and the other is not. */
async function killAt(point: Point): Promise<{ retried: Sale; left: Sale }> {
  child = await startChild(shop, point.yaml);
  const { path, body } = point;
  const sales = [];
  const later = [];
  for (let count = 0; count < 2; count += 1) {
    const sale = await auditor.sell({
      ...(path === undefined ? {} : { path }),
      ...(body === undefined ? {} : { body }),
    });
    later.push(await point.reach(shop, sale));
    await vi.waitUntil(() => writtenState(shop, sale.id) === point.found, { interval: 5, timeout: 5_000 });
    sales.push(sale);
  }
  await child.kill();
  for (const act of later) if (typeof act === "function") await act();
  const [retried, left] = sales as [Sale, Sale];
  return { retried, left };
}

/** The gateway comes back, in this process, for as long as `use` takes. */
async function restarted(use: () => Promise<void>): Promise<void> {
  const gateway = await startGateway({
    config: shop.config,
    log: createLogger({ level: "silent" }),
    onFatal: (error) => {
      throw error;
    },
  });
  books = gateway.ledger;
  try {
    await openForBusiness(shop.url);
    await use();
  } finally {
    await gateway.close();
  }
}

/** Nobody comes back; the reconciler alone goes on. */
async function leftAlone(use: (sweep: Aftermath["sweep"]) => Promise<void>): Promise<void> {
  const aftermath = await openAftermath(shop);
  books = aftermath.ledger;
  try {
    await use(aftermath.sweep);
    await auditor.audit();
  } finally {
    await aftermath.close();
  }
}

describe("killed at", () => {
  test.each(points)(
    "$name: found $found; retried it is answered, left alone it ends $abandoned",
    async (point) => {
      const { retried, left } = await killAt(point);
      expect([retried, left].map(({ id }) => writtenState(shop, id))).toEqual([point.found, point.found]);
      await restarted(async () => {
        for (const answer of point.retries) expect(await retried.send()).toMatchObject(answer);
        await auditor.audit();
      });
      await leftAlone(async (sweep) => {
        const { leaseMs, storeResponseTtlMs } = shop.config.payment;
        await sweep(leaseMs);
        expect(await auditor.state(left)).toBe(point.swept);
        await sweep(leaseMs + storeResponseTtlMs);
        expect(await auditor.state(left)).toBe(point.abandoned);
      });
      expect(undecided(shop)).toBe(0);
      expect(auditor.moved(left)).toBe(point.abandoned === "open" ? 0 : 1);
    },
  );

  test("settling, and it never lands: unknown until it has expired, then released", async () => {
    const { retried, left } = await killAt({
      name: "settling",
      async reach(_shop, sale) {
        shop.facilitator.fail("settle", faults.hang);
        const settle = shop.facilitator.nextCall("settle");
        void request(sale);
        await settle;
      },
      found: "settling",
      retries: [],
      swept: "unknown",
      abandoned: "released",
    });
    await restarted(async () => {
      expect(await retried.send()).toMatchObject(undecidedYet);
    });
    await leftAlone(async (sweep) => {
      await sweep(shop.config.payment.leaseMs);
      expect(await auditor.state(left)).toBe("unknown");
    });
    shop.localnet.warp(PAST_EXPIRY);
    await restarted(async () => {
      expect(await retried.send()).toMatchObject(expired);
      await auditor.audit();
    });
    // The retry is a new claim, which the chain is asked about once it has expired in its turn.
    shop.localnet.warp(PAST_EXPIRY);
    await leftAlone(async (sweep) => {
      await sweep(shop.config.payment.leaseMs);
      expect(await auditor.state(left)).toBe("released");
    });
    expect(undecided(shop)).toBe(0);
    expect([retried, left].map(auditor.moved)).toEqual([0, 0]);
  });
});

test("killed while it settles, and its agent signs anew at once: the first payment serves it", async () => {
  child = await startChild(shop);
  const buyer = await createBuyer(shop);
  const body = { user: "signs anew", messages: [{ role: "user", content: "the same" }] };
  const first = await auditor.sell({ buyer, body });
  const late = shop.facilitator.lateLanding("settle", faults.hang);
  void request(first);
  await late.arrived;
  await vi.waitUntil(() => writtenState(shop, first.id) === "settling", { interval: 5, timeout: 5_000 });
  await child.kill();
  await restarted(async () => {
    const again = await auditor.sell({ buyer, body });
    expect(await again.send()).toMatchObject(undecidedYet);
    await late.release();
    expect(await again.send()).toMatchObject(served);
    expect([first, again].map(auditor.moved)).toEqual([1, 0]);
    await auditor.audit();
  });
});

describe("killed in the middle of many calls", () => {
  test.each([2, 7, 13, 19])(
    "after %d calls to the facilitator: each is paid once and served or owed",
    async (nth) => {
      child = await startChild(shop);
      const { kill } = child;
      const sales = await Promise.all(Array.from({ length: 10 }, () => auditor.sell()));
      const { calls } = shop.facilitator;
      const before = calls.verify + calls.settle;
      const killed = (async () => {
        while (calls.verify + calls.settle < before + nth) {
          await Promise.race([shop.facilitator.nextCall("verify"), shop.facilitator.nextCall("settle")]);
        }
        await kill();
      })();
      await Promise.all(
        sales.map((sale) =>
          request(sale)
            .then((response) => response.text())
            .catch(() => {}),
        ),
      );
      await killed;
      await restarted(async () => {
        for (const sale of sales) await sale.send();
        await auditor.audit();
        shop.localnet.warp(PAST_EXPIRY);
        for (const sale of sales) await sale.send();
        await auditor.audit();
      });
      shop.localnet.warp(PAST_EXPIRY);
      await leftAlone((sweep) => sweep(shop.config.payment.leaseMs));
      expect(undecided(shop)).toBe(0);
      for (const sale of sales) {
        const last = sale.exchanges.at(-1);
        expect(last).toMatchObject(auditor.moved(sale) === 1 ? served : expired);
      }
    },
  );
});
