import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { createLogger } from "../../server/log.ts";
import { startGateway } from "../../server/start.ts";
import { openForBusiness, PAST_EXPIRY } from "../faults/audit.ts";
import { startChild } from "../faults/child-gateway.ts";
import { endLease, openAftermath, writtenState } from "../faults/dead-gateway.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer } from "../support/buyer.ts";
import {
  type Answer,
  expectBooksClosed,
  landed,
  openCreditShop,
  order,
  type Purchase,
} from "./credit-shop.ts";

const HOOK = fileURLToPath(new URL("../support/die-at.mjs", import.meta.url));

let shop: KeyedShop;
/** The account whose key is sent along to `/topup`. */
let secret: string;
let account: string;

beforeAll(async () => {
  shop = await openCreditShop();
  const customer = await shop.customer(0n);
  ({ secret, account } = customer);
  await shop.gateway.close();
});
afterAll(async () => {
  await restartFor(async () => {});
  await shop.close();
});

interface Purchases {
  readonly key: Purchase;
  readonly topUp: Purchase;
}

async function buy(): Promise<Purchases> {
  return {
    key: await order(shop, await createBuyer(shop), "/keys", { amount: "0.05" }),
    topUp: await order(shop, await createBuyer(shop), "/topup", { amount: "0.07" }, secret),
  };
}

/** Buys both kinds of credit, twice, from a process that kills itself at this step. */
async function buyAndDie(at: string): Promise<{ readonly retried: Purchases; readonly left: Purchases }> {
  const options = `--import=${HOOK}`;
  const child = await startChild(shop, "", { NODE_OPTIONS: options, DIE_AT: at });
  const [retried, left] = [await buy(), await buy()];
  const all = [retried.key, left.key, retried.topUp, left.topUp];
  const answers = Promise.allSettled(all.map((purchase) => purchase.send()));
  await child.gone;
  await answers;
  return { retried, left };
}

async function restartFor(use: (ledger: Ledger) => Promise<void>): Promise<void> {
  const gateway = await startGateway({
    config: shop.config,
    log: createLogger({ level: "silent" }),
    onFatal: (error) => {
      throw error;
    },
  });
  shop.gateway = gateway;
  await openForBusiness(shop.url);
  try {
    await use(gateway.ledger);
  } finally {
    await gateway.close();
  }
}

/** The steps of a purchase, in their order. */
const STEPS = ["claim", "beginSettle", "settled", "credit", "createKey"];
const DEATHS = STEPS.flatMap((step) => [`before ${step}`, `after ${step}`]);

/** Nothing was on its way to the facilitator's settle, so every retry is a new claim. */
const EARLY = ["before claim", "after claim", "before beginSettle"];

const paid = ({ id }: Purchase): boolean => landed(shop).has(id);

/** Sends it again, its lease over. What was to be settled and never was sent is only known to be unpaid once it has expired. */
async function retry(purchase: Purchase): Promise<Answer> {
  endLease(shop, purchase.id);
  const answer = await purchase.send();
  if (answer.status === 200) return answer;
  expect(paid(purchase)).toBe(false);
  if (answer.status !== 402) expect(answer).toMatchObject({ status: 503, code: "settlement_unknown" });
  shop.localnet.warp(PAST_EXPIRY);
  expect((await purchase.send()).status).toBe(402);
  return answer;
}

describe.each(DEATHS)("killed %s", (at) => {
  let retried: Purchases;
  let left: Purchases;
  beforeAll(async () => {
    ({ retried, left } = await buyAndDie(at));
  });

  test("the retry is answered: credited once, one key, whose secret is shown at most once", async () => {
    const { key, topUp } = retried;
    const all = [key, topUp, left.key, left.topUp];
    const step = at.split(" ")[1] ?? "";
    // Of those at work, one was at this step.
    if (STEPS.indexOf(step) >= STEPS.indexOf("settled")) expect(all.some(paid)).toBe(true);
    else expect(all.some(paid)).toBe(false);
    await restartFor(async (ledger) => {
      const before = await ledger.balance(account);
      const wasCredited = (await ledger.payment(topUp.id))?.state === "credited";
      const hadKey = (await ledger.keys(key.account)).length === 1;
      const shown = await retry(key);
      await retry(topUp);
      if (EARLY.includes(at)) expect([key, topUp].every(paid)).toBe(true);
      expect(await ledger.keys(key.account)).toHaveLength(paid(key) ? 1 : 0);
      expect("key" in shown.body).toBe(paid(key) && !hadKey);
      expect(await ledger.balance(key.account)).toBe(paid(key) ? 50_000n : 0n);
      expect(await ledger.balance(account)).toBe(before + (paid(topUp) && !wasCredited ? 70_000n : 0n));
      for (const purchase of [key, topUp].filter(paid)) {
        const again = await purchase.send();
        expect(again).toMatchObject({ status: 200, body: { repeated: true } });
        expect(again.body).not.toHaveProperty("key");
      }
    });
  });

  test("left alone: the sum of credits is the sum of landed transfers", async () => {
    shop.localnet.warp(PAST_EXPIRY);
    const aftermath = await openAftermath(shop);
    try {
      const { leaseMs, storeResponseTtlMs } = shop.config.payment;
      await aftermath.sweep(leaseMs);
      await aftermath.sweep(leaseMs + storeResponseTtlMs);
      await expectBooksClosed(shop, aftermath.ledger);
      for (const purchase of [left.key, left.topUp]) {
        expect(writtenState(shop, purchase.id) === "credited").toBe(paid(purchase));
      }
    } finally {
      await aftermath.close();
    }
  });
});
