import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { type Customer, callId, captures, customer, held } from "../ledger/customers.ts";
import { openRedis } from "../ledger/open-redis.ts";
import { claimed, LEASE_MS, request } from "../ledger/world.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

let server: RedisServer;
let ledger: Ledger;
let buyers: readonly Customer[];
const OPENING = 1_000_000n;

beforeAll(async () => {
  server = await startRedis();
  ledger = await openRedis(server.url);
  buyers = await Promise.all(Array.from({ length: 4 }, () => customer(ledger, OPENING)));
});
afterAll(async () => {
  await ledger.close();
  await server.stop();
});

/** What was asked of the ledger, and whether it said that it was done. */
interface Asked {
  readonly buyer: Customer;
  readonly amount: bigint;
  readonly reference: string;
  acknowledged: boolean;
}

/** Undefined: nobody knows whether it was done. */
async function orUnknown<T>(step: Promise<T>): Promise<T | undefined> {
  try {
    return await step;
  } catch (error) {
    expect(error).toBeInstanceOf(LedgerFault);
    // A Redis that is away answers at once.
    await new Promise((resolve) => setImmediate(resolve));
    return undefined;
  }
}

async function untilItWorks(): Promise<void> {
  const works = () =>
    Promise.all([ledger.ping(), ledger.sweepHolds()]).then(
      () => true,
      () => false,
    );
  await vi.waitUntil(works, { interval: 10, timeout: 15_000 });
}

/** One customer's calls and credits, one after the other, until `isOver`. */
async function trade(buyer: Customer, isOver: () => boolean, log: Asked[]): Promise<void> {
  for (let turn = 0; !isOver(); turn += 1) {
    const amount = BigInt(1 + (turn % 50));
    if (turn % 3 === 0) {
      const reference = callId();
      const entry: Asked = { buyer, amount, reference: `credit:${reference}`, acknowledged: false };
      log.push(entry);
      entry.acknowledged =
        (await orUnknown(ledger.creditAccount(buyer.account, amount, reference))) !== undefined;
    } else {
      const hold = await orUnknown(held(ledger, buyer, 50n));
      if (hold === undefined) continue;
      const entry: Asked = { buyer, amount: -amount, reference: `hold:${hold.id}`, acknowledged: false };
      log.push(entry);
      entry.acknowledged = (await orUnknown(ledger.capture(captures(hold, amount)))) !== undefined;
    }
  }
}

/** One payer's payments, each from its claim to its delivery or credit; returns what was acknowledged last of each. */
async function sell(payer: string, isOver: () => boolean, states: Map<string, string>): Promise<void> {
  for (let turn = 0; !isOver(); turn += 1) {
    const asked = request({ payer });
    const fence = await orUnknown(claimed(ledger, asked));
    if (fence === undefined) continue;
    const steps: readonly (readonly [string, () => Promise<string>])[] = [
      ["settling", () => ledger.beginSettle(asked.id, fence, LEASE_MS)],
      ["settled", () => ledger.settled(asked.id, fence, "tx", undefined)],
      turn % 2 === 0
        ? ["delivered", () => ledger.deliver(asked.id, fence, undefined)]
        : ["credited", () => ledger.credit(asked.id, fence, "upstream_failed")],
    ];
    for (const [state, step] of steps) {
      if ((await orUnknown(step())) !== "ok") break;
      states.set(asked.id, state);
    }
  }
}

const ORDER = ["open", "settling", "settled", "delivered", "credited"];

test("kill -9 in the middle of a load: what was acknowledged is there, once, and what was not is there whole or not at all", async () => {
  const log: Asked[] = [];
  const states = new Map<string, string>();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 20, max: 120 }), async (acknowledgements) => {
      let isOver = false;
      const done = () => log.filter(({ acknowledged }) => acknowledged).length;
      const goal = done() + acknowledgements;
      const load = [
        ...buyers.map((buyer) => trade(buyer, () => isOver, log)),
        ...["payer one", "payer two"].map((payer) => sell(payer, () => isOver, states)),
      ];
      await vi.waitUntil(() => done() >= goal, { interval: 1, timeout: 15_000 });
      await server.kill();
      isOver = true;
      await Promise.all(load);
      await server.start();
      await untilItWorks();

      for (const buyer of buyers) {
        const journal = await ledger.journal(buyer.account);
        const mine = log.filter((entry) => entry.buyer === buyer);
        for (const { reference, amount, acknowledged } of mine) {
          const found = journal.filter((entry) => entry.reference === reference);
          if (acknowledged) expect(found, reference).toMatchObject([{ amount }]);
          else expect(found.length, reference).toBeLessThanOrEqual(1);
        }
        expect(journal.length - 1).toBeLessThanOrEqual(mine.length);
      }
      for (const [id, state] of states) {
        const record = await ledger.payment(id);
        const reached = ORDER.indexOf(record?.state ?? "none");
        expect(reached, `${id}: ${state} was acknowledged, ${record?.state} is there`).toBeGreaterThanOrEqual(
          ORDER.indexOf(state),
        );
        const credits = await ledger.journal(`wallet:${record?.payer}`);
        expect(credits.filter(({ reference }) => reference === `payment:${id}`)).toHaveLength(
          record?.state === "credited" ? 1 : 0,
        );
      }
      expect(await ledger.checkAccounts()).toEqual([]);
    }),
    { numRuns: 6 },
  );
}, 120_000);
