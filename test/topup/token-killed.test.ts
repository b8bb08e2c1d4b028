import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openForBusiness, PAST_EXPIRY } from "../faults/audit.ts";
import { startChild } from "../faults/child-gateway.ts";
import { endLease, openAftermath, writtenState } from "../faults/dead-gateway.ts";
import { createTokenBuyer } from "../support/buyer.ts";
import { landed, order, type Purchase } from "./credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type TokenShop, yamlOf } from "./token-shop.ts";

const HOOK = fileURLToPath(new URL("../support/die-at.mjs", import.meta.url));
const body = { amount: "0.45" };

let shop: TokenShop;
/** The account whose key is sent along. */
let secret: string;
let account: string;

beforeAll(async () => {
  shop = await openTokenShop();
  ({ secret, account } = await shop.customer(0n));
  await shop.gateway.close();
});
afterAll(async () => {
  await shop.restart();
  await shop.close();
});

const paid = ({ id }: Purchase): boolean => landed(shop, shop.play.mint).has(id);

const isBegun = (state: string | undefined): boolean => state !== undefined && state !== "open";

/** Tops up twice in the play token, from a process that kills itself at this step. */
async function buyAndDie(at: string): Promise<readonly Purchase[]> {
  const env = { NODE_OPTIONS: `--import=${HOOK}`, DIE_AT: at };
  const child = await startChild(shop, yamlOf([shop.classic, shop.play]), env);
  const buyer = () => createTokenBuyer(shop, shop.play.mint);
  const purchases = [
    await order(shop, await buyer(), "/topup", body, secret),
    await order(shop, await buyer(), "/topup", body, secret),
  ];
  const answers = Promise.allSettled(purchases.map((purchase) => purchase.send()));
  await child.gone;
  await answers;
  return purchases;
}

describe.each(["after beginSettle", "before settled", "after settled", "before credit", "after credit"])(
  "killed %s",
  (at) => {
    test("the retry finds the token gone from the settings: what moved is credited once, as the terms said", async () => {
      // Either may have been the first, and the other not even begun.
      const purchase = (await buyAndDie(at)).find(({ id }) => isBegun(writtenState(shop, id)));
      if (purchase === undefined) throw new Error("nothing was bought");
      endLease(shop, purchase.id);
      await shop.restart(yamlOf([]));
      await openForBusiness(shop.url);
      const { ledger } = shop.gateway;
      const before = await ledger.balance(account);
      const wasCredited = (await ledger.payment(purchase.id))?.state === "credited";
      const answer = await purchase.send();
      if (paid(purchase)) {
        expect(answer).toMatchObject({ status: 200, body: { account } });
        expect(await ledger.balance(account)).toBe(before + (wasCredited ? 0n : 450_000n));
        expect(await purchase.send()).toMatchObject({ status: 200, body: { repeated: true } });
      } else {
        expect(answer).toMatchObject({ status: 503, code: "settlement_unknown" });
        expect(await ledger.balance(account)).toBe(before);
      }
      await shop.gateway.close();
    });

    test("left alone: every landed transfer is credited, once", async () => {
      const purchases = await buyAndDie(at);
      if (at !== "after beginSettle") expect(purchases.some(paid)).toBe(true);
      shop.localnet.warp(PAST_EXPIRY);
      const aftermath = await openAftermath(shop);
      try {
        const { leaseMs, storeResponseTtlMs } = shop.config.payment;
        await aftermath.sweep(leaseMs);
        await aftermath.sweep(leaseMs + storeResponseTtlMs);
        await expectTokenBooksClosed(shop, aftermath.ledger);
        for (const purchase of purchases) {
          expect(writtenState(shop, purchase.id) === "credited").toBe(paid(purchase));
        }
      } finally {
        await aftermath.close();
      }
    });
  },
);
