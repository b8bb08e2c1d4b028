import { describe, expect, test } from "vitest";
import type { ClaimRequest, Ledger } from "../../server/ledger/ledger.ts";
import { anotherKey, held } from "./customers.ts";
import { ALL, bring, claimed, LEASE_MS, randomId, request, type Stand, taken, type World } from "./world.ts";

const LATE = { verdict: "settled", transaction: "late" } as const;

/** Every way in which a payment becomes a credit, from the stand before it. */
const ENDS: readonly {
  readonly name: string;
  readonly from: Stand;
  end(ledger: Ledger, asked: ClaimRequest, fence: number): Promise<string>;
  readonly done: string;
  /** What the record says afterwards. */
  readonly reason: string;
}[] = [
  {
    name: "credit",
    from: "settled",
    end: (ledger, { id }, fence) => ledger.credit(id, fence, "topped_up"),
    done: "ok",
    reason: "topped_up",
  },
  {
    name: "a late landing",
    from: "taken_watched",
    end: (ledger, { id }, fence) => ledger.decide(id, fence, LATE, 0),
    done: "ok",
    reason: "refused",
  },
  {
    name: "a transfer found on the chain",
    from: "released",
    end: (ledger, asked) =>
      ledger.creditTransfer({ ...asked, transaction: "late", reason: "found_on_the_chain" }),
    done: "credited",
    reason: "found_on_the_chain",
  },
  {
    name: "a transfer found on the chain, of a refused payment",
    from: "watched",
    end: (ledger, asked) =>
      ledger.creditTransfer({ ...asked, transaction: "late", reason: "found_on_the_chain" }),
    done: "credited",
    reason: "found_on_the_chain",
  },
];

/** Payments whose credit goes to an account that the payer has named. */
export function beneficiaryContract(world: World): void {
  async function account(): Promise<string> {
    const id = `acct_${randomId().slice(0, 16)}`;
    await world.ledger.createAccount(id, "Beneficiary");
    return id;
  }

  async function expectCredited(asked: ClaimRequest, id: string): Promise<void> {
    const { ledger } = world;
    const kind = asked.isTopUp ? "topup" : "owed_credit";
    const entry = { reference: `payment:${asked.id}`, kind, amount: asked.amount };
    expect(await ledger.journal(id)).toMatchObject([{ ...entry, account: id, balance: asked.amount }]);
    expect(await ledger.balance(id)).toBe(asked.amount);
    const other = id.startsWith("wallet:") ? asked.beneficiary : `wallet:${asked.payer}`;
    if (other !== undefined) expect(await ledger.journal(other)).toEqual([]);
  }

  describe("beneficiary", () => {
    test.each(ENDS)("$name: gets the amount, once", async ({ from, end, done, reason }) => {
      // Of many, some are in the shard of their payer and most are not.
      for (let round = 0; round < 8; round += 1) {
        const asked = request({ beneficiary: await account(), isTopUp: round % 2 === 0 });
        const fence = await bring(world.ledger, asked, from);
        const all = await Promise.all(Array.from({ length: 5 }, () => end(world.ledger, asked, fence)));
        expect(all.filter((outcome) => outcome === done)).toHaveLength(1);
        await expectCredited(asked, asked.beneficiary ?? "");
        const record = {
          state: "credited",
          beneficiary: asked.beneficiary,
          reason,
          watched: false,
          leased: false,
        };
        expect(await world.ledger.payment(asked.id)).toMatchObject(record);
        expect(await world.ledger.claim(asked)).toMatchObject({ outcome: "credited", record });
      }
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test.each(ENDS)(
      "$name: that is no account: the wallet gets it, and the record says so",
      async ({ from, end, done }) => {
        const asked = request({ beneficiary: "acct_gone", isTopUp: true });
        const fence = await bring(world.ledger, asked, from);
        expect(await end(world.ledger, asked, fence)).toBe(done);
        await expectCredited(asked, `wallet:${asked.payer}`);
        expect(await world.ledger.account("acct_gone")).toBeUndefined();
        const record = await world.ledger.payment(asked.id);
        expect(record).toMatchObject({ state: "credited", beneficiary: undefined });
      },
    );

    test.each(ENDS)("$name, in another token: what it is worth is credited, not what moved", async (by) => {
      // Beyond an int64, which is what SQLite and a token's supply part over.
      const assetAmount = 2n ** 64n - 1n;
      for (const beneficiary of [undefined, await account()]) {
        const asked = request({ beneficiary, assetAmount, asset: "other", isTopUp: true });
        const fence = await bring(world.ledger, asked, by.from);
        expect(await world.ledger.payment(asked.id)).toMatchObject({ assetAmount, isTopUp: true });
        expect(await by.end(world.ledger, asked, fence)).toBe(by.done);
        await expectCredited(asked, beneficiary ?? `wallet:${asked.payer}`);
        const record = { amount: asked.amount, asset: "other", assetAmount, isTopUp: true };
        expect(await world.ledger.payment(asked.id)).toMatchObject(record);
        expect(await world.ledger.claim(asked)).toMatchObject({ outcome: "credited", record });
      }
    });

    test("of a payment claimed anew in other terms, those of the new claim count", async () => {
      const first = request({ assetAmount: 7n, isTopUp: true });
      await bring(world.ledger, first, "released");
      await claimed(world.ledger, { ...first, assetAmount: first.amount, isTopUp: false });
      expect(await world.ledger.payment(first.id)).toMatchObject({
        assetAmount: first.amount,
        isTopUp: false,
      });
    });

    test("whose payment nobody came back for is credited by the sweep; its old holder does nothing more", async () => {
      const asked = request({ beneficiary: await account() });
      const fence = await bring(world.ledger, asked, "settled");
      world.pass(LEASE_MS);
      const abandoned = await world.ledger.takeAbandoned(0, LEASE_MS, ALL);
      const mine = abandoned.find(({ id }) => id === asked.id);
      expect(mine?.beneficiary).toBe(asked.beneficiary);
      expect(await world.ledger.credit(asked.id, fence, "topped_up")).toBe("lost");
      expect(await world.ledger.credit(asked.id, mine?.fence ?? 0, "not_collected")).toBe("ok");
      await expectCredited(asked, asked.beneficiary ?? "");
    });

    test("of a payment claimed anew is the new claim's", async () => {
      const first = request({ beneficiary: await account() });
      await bring(world.ledger, first, "watched");
      const second = { ...first, beneficiary: await account() };
      const fence = await claimed(world.ledger, second);
      const release = { reason: "invalid", watched: false, strikeMs: 0 };
      expect(await world.ledger.release(second.id, fence, release)).toBe("ok");
      const late = await taken(world.ledger, second.id);
      expect(await world.ledger.decide(second.id, late, LATE, 0)).toBe("ok");
      await expectCredited(second, second.beneficiary);
      expect(await world.ledger.balance(first.beneficiary ?? "")).toBe(0n);
    });

    test("that was told to have the money can spend it with a key", async () => {
      const asked = request({ beneficiary: await account(), amount: 1_000n });
      const fence = await bring(world.ledger, asked, "settled");
      await world.ledger.credit(asked.id, fence, "topped_up");
      const buyer = await anotherKey(world.ledger, asked.beneficiary ?? "");
      expect((await held(world.ledger, buyer, 1_000n)).amount).toBe(1_000n);
    });
  });
}
