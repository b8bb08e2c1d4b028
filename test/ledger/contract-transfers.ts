import { describe, expect, test } from "vitest";
import type { ClaimRequest, PaymentRecord, UnservedTransfer } from "../../server/ledger/ledger.ts";
import { ALL, bring, LEASE_MS, randomId, request, STANDS, type Stand, type World } from "./world.ts";

export function transferContract(world: World): void {
  describe("creditTransfer", () => {
    const live: readonly Stand[] = ["released", "watched"];
    const dead: readonly Stand[] = [...live, "open", "taken_watched"];

    test.each(STANDS)("of a payment that is %s", async (stand) => {
      for (const [pass, creditable] of [
        [0, live],
        [LEASE_MS, dead],
      ] as const) {
        const asked = request({ identifierHash: `transfer-${stand}-${pass}` });
        const fence = await bring(world.ledger, asked, stand);
        world.pass(pass);
        const before = await world.ledger.payment(asked.id);
        const journal = await world.ledger.journal(`wallet:${asked.payer}`);
        const outcome = await world.ledger.creditTransfer(landed(asked));
        if (!creditable.includes(stand)) {
          expect(outcome).toBe(stand === "credited" ? "repeated" : "recorded");
          expect(await world.ledger.payment(asked.id)).toEqual(before);
          expect(await world.ledger.journal(`wallet:${asked.payer}`)).toEqual(journal);
          continue;
        }
        expect(outcome).toBe("credited");
        expect(await world.ledger.payment(asked.id)).toEqual({
          ...before,
          ...{ state: "credited", fence: fence + 1, transaction: "landed", reason: "never_served" },
          ...{ watched: false, leased: false, updatedAt: world.now() },
        });
        await expectCreditedOnce(asked);
        // Whoever held it before changes nothing more.
        expect(await world.ledger.beginSettle(asked.id, fence, LEASE_MS)).toBe("lost");
        const verdict = { verdict: "settled", transaction: "landed" } as const;
        expect(await world.ledger.decide(asked.id, fence, verdict, 0)).toBe("lost");
        expect(await world.ledger.takeUndecided(asked.id, 1n, LEASE_MS)).toBe("lost");
        expect((await world.ledger.claim(asked)).outcome).toBe("credited");
        await expectCreditedOnce(asked);
        // Its identifier is free again.
        const next = await world.ledger.claim({ ...asked, id: `${asked.id}-next` });
        expect(next.outcome).toBe("claimed");
      }
    });

    test("without a record one is made that is credited and never served", async () => {
      const asked = request();
      expect(await world.ledger.creditTransfer(landed(asked))).toBe("credited");
      const { id, payer, amount, asset, assetAmount, payTo, network, memo, feePayer } = asked;
      const record: PaymentRecord = {
        ...{ id, payer, amount, asset, assetAmount, payTo, network, memo, feePayer },
        ...{ beneficiary: undefined, isTopUp: false },
        ...{ state: "credited", fence: 1, fingerprint: "", x402Version: 2, route: "" },
        ...{ claimHeight: undefined, transaction: "landed", reason: "never_served" },
        ...{ watched: false, leased: false, orphaned: false, servings: 0 },
        ...{ createdAt: world.now(), updatedAt: world.now() },
      };
      expect(await world.ledger.payment(id)).toEqual(record);
      expect(await world.ledger.claim(asked)).toEqual({ outcome: "credited", record });
      expect(await world.ledger.creditTransfer(landed(asked))).toBe("repeated");
      await expectCreditedOnce(asked);
    });

    test.each([7n, 2n ** 64n - 1n])(
      "without a record, in another token (%s of it): what it is worth is credited, not what moved",
      async (assetAmount) => {
        const asked = request({ asset: "other", assetAmount });
        expect(await world.ledger.creditTransfer(landed(asked))).toBe("credited");
        const { amount, asset } = asked;
        expect(await world.ledger.payment(asked.id)).toMatchObject({ amount, asset, assetAmount });
        await expectCreditedOnce(asked);
      },
    );

    test("many at once, among them a claim of the same payment: one of them has it", async () => {
      for (let round = 0; round < 20; round += 1) {
        const asked = request();
        const credits = Array.from({ length: 5 }, () => () => world.ledger.creditTransfer(landed(asked)));
        const calls = [...credits];
        calls.splice(round % 6, 0, async () => {
          const { outcome } = await world.ledger.claim(asked);
          return outcome === "claimed" ? "recorded" : "repeated";
        });
        const outcomes = await Promise.all(calls.map((call) => call()));
        const state = (await world.ledger.payment(asked.id))?.state;
        if (state === "open") {
          expect(outcomes.every((outcome) => outcome === "recorded")).toBe(true);
          expect(await world.ledger.journal(`wallet:${asked.payer}`)).toEqual([]);
        } else {
          expect(outcomes.filter((outcome) => outcome === "credited")).toHaveLength(1);
          await expectCreditedOnce(asked);
        }
      }
    });

    test("of a record the record's own amount and payer count", async () => {
      const asked = request();
      await bring(world.ledger, asked, "released");
      const other = { ...landed(asked), amount: asked.amount + 1n };
      expect(await world.ledger.creditTransfer(other)).toBe("credited");
      await expectCreditedOnce(asked);
    });

    test("an amount below 1 is refused and leaves nothing", async () => {
      const asked = request();
      await expect(world.ledger.creditTransfer({ ...landed(asked), amount: 0n })).rejects.toThrow();
      expect(await world.ledger.payment(asked.id)).toBeUndefined();
    });

    async function expectCreditedOnce({ id, payer, amount }: ClaimRequest): Promise<void> {
      const account = `wallet:${payer}`;
      expect(await world.ledger.balance(account)).toBe(amount);
      expect(await world.ledger.journal(account)).toEqual([
        {
          ...{ account, reference: `payment:${id}`, kind: "owed_credit", amount, balance: amount },
          at: expect.any(Number),
        },
      ]);
    }
  });

  describe("payments", () => {
    async function walk(limit: number): Promise<PaymentRecord[]> {
      const found: PaymentRecord[] = [];
      let after: string | undefined;
      do {
        const { records, next } = await world.ledger.payments(after, limit);
        found.push(...records);
        after = next;
      } while (after !== undefined);
      return found;
    }

    test.each([1, 3, ALL])("page by page (%i), every record as it is", async (limit) => {
      const asked = STANDS.map(() => request());
      for (const [index, stand] of STANDS.entries()) {
        const one = asked[index];
        if (one !== undefined) await bring(world.ledger, one, stand);
      }
      const found = new Map((await walk(limit)).map((record) => [record.id, record]));
      for (const { id } of asked) expect(found.get(id)).toEqual(await world.ledger.payment(id));
    });

    test("a record that changes during the walk is not lost to it", async () => {
      const asked = Array.from({ length: 5 }, () => request());
      for (const one of asked) await bring(world.ledger, one, "parked");
      const seen = new Set<string>();
      let after: string | undefined;
      do {
        const { records, next } = await world.ledger.payments(after, 2);
        for (const { id } of records) seen.add(id);
        for (const { id, fingerprint } of asked)
          await world.ledger.resume(id, fingerprint, LEASE_MS, randomId());
        after = next;
      } while (after !== undefined);
      expect(asked.filter(({ id }) => !seen.has(id))).toEqual([]);
    });
  });
}

function landed({
  id,
  payer,
  amount,
  asset,
  assetAmount,
  payTo,
  network,
  memo,
  feePayer,
}: ClaimRequest): UnservedTransfer {
  const transfer = { id, payer, amount, asset, assetAmount, payTo, network, memo, feePayer };
  return { ...transfer, transaction: "landed", reason: "never_served" };
}
