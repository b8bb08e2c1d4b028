import { describe, expect, test } from "vitest";
import type { ExportKind, ExportRecord } from "../../server/ledger/export-ledger.ts";
import { EXPORT_KINDS, LEAST_TRIM_AGE_MS, paymentVersion } from "../../server/ledger/export-ledger.ts";
import type { ClaimRequest } from "../../server/ledger/ledger.ts";
import { account, captures, customer, held, purse, spend, usageOf } from "./customers.ts";
import {
  bring,
  claimed,
  keep,
  LEASE_MS,
  randomId,
  request,
  STANDS,
  type Stand,
  type World,
} from "./world.ts";

const DAY_MS = LEAST_TRIM_AGE_MS;
/** Nothing will become of these any more. */
const FINISHED: readonly Stand[] = ["delivered", "credited", "released"];

export function exportContract(world: World): void {
  async function walk(kind: ExportKind, limit = 1_000) {
    const records: ExportRecord[] = [];
    const marks: string[] = [];
    let after: string | undefined;
    do {
      const page = await world.ledger.unexported(kind, after, limit);
      expect(page.records.length).toBeLessThanOrEqual(limit);
      records.push(...page.records);
      marks.push(...page.marks);
      after = page.next;
    } while (after !== undefined);
    return { records, marks };
  }
  async function drain(kind: ExportKind): Promise<readonly ExportRecord[]> {
    const { records, marks } = await walk(kind);
    await world.ledger.markExported(kind, marks);
    return records;
  }
  async function drainAndTrim(): Promise<void> {
    for (const kind of EXPORT_KINDS) {
      await drain(kind);
      await world.ledger.trimExported(kind, DAY_MS);
    }
  }
  function idsOf(records: readonly ExportRecord[]): readonly string[] {
    return records.flatMap((record) => (record.kind === "payments" ? [record.payment.id] : []));
  }
  function referencesOf(records: readonly ExportRecord[], of: string): readonly string[] {
    return records.flatMap((record) =>
      record.kind === "journal" && record.entry.account === of ? [record.entry.reference] : [],
    );
  }

  describe("export", () => {
    test.each([1, 2, 1_000])(
      "walks the journal in pages of %i, each entry once, with its key",
      async (limit) => {
        await drain("journal");
        const [one, two] = [await customer(world.ledger, 100n), await account(world.ledger, 7n)];
        await spend(world.ledger, one, 30n);
        await spend(world.ledger, one, 20n);
        const { records } = await walk("journal", limit);
        const entries = records.flatMap((record) => (record.kind === "journal" ? [record.entry] : []));
        const expected = [one.account, two].map(async (id) =>
          (await world.ledger.journal(id)).map((entry) => ({
            ...entry,
            keyId: entry.kind === "capture" ? one.keyId : undefined,
          })),
        );
        const wanted = (await Promise.all(expected)).flat();
        expect(entries).toHaveLength(4);
        expect(entries).toEqual(expect.arrayContaining(wanted));
      },
    );

    test.each([1, 3, 1_000])("walks usage in pages of %i, as it is read elsewhere", async (limit) => {
      await drain("usage");
      const owner = await account(world.ledger, 0n);
      const facts = usageOf(
        { id: "x", account: owner, keyId: undefined, keyLabel: "=1", amount: 3n } as never,
        {},
      );
      for (const charged of [1n, 2n, 3n, 4n]) await world.ledger.recordUsage(facts, charged);
      const { records, marks } = await walk("usage", limit);
      const found = records.flatMap((record) => (record.kind === "usage" ? [record.usage] : []));
      const read = await world.ledger.usage({ account: owner, limit: 10 });
      expect(found).toEqual(read.toReversed());
      expect(found).toHaveLength(4);
      await world.ledger.markExported("usage", marks);
      expect((await walk("usage")).records).toEqual([]);
    });

    test.each([1, 3, 1_000])("walks payments in pages of %i, each as it is", async (limit) => {
      await drain("payments");
      const asked = STANDS.map(() => request());
      for (const [index, stand] of STANDS.entries())
        await bring(world.ledger, asked[index] as ClaimRequest, stand);
      const { records } = await walk("payments", limit);
      const read = await Promise.all(asked.map(({ id }) => world.ledger.payment(id)));
      const found = records.flatMap((record) => (record.kind === "payments" ? [record.payment] : []));
      expect(found).toHaveLength(STANDS.length);
      expect(found).toEqual(expect.arrayContaining(read));
    });

    test.each(EXPORT_KINDS)("%s that was not marked comes again; that was marked does not", async (kind) => {
      const buyer = await customer(world.ledger, 100n);
      await drain(kind);
      const made = async () => {
        await spend(world.ledger, buyer, 30n);
        await bring(world.ledger, request(), "credited");
      };
      await made();
      const first = await walk(kind);
      expect(first.records.length).toBeGreaterThan(0);
      const again = await walk(kind);
      expect(again).toEqual(first);
      await made();
      await world.ledger.markExported(kind, first.marks);
      const rest = await walk(kind);
      expect(rest.records).toHaveLength(first.records.length);
      expect(rest.records).not.toEqual(first.records);
      await world.ledger.markExported(kind, rest.marks);
      // The slower of two walks marks last: what is marked stays so.
      await world.ledger.markExported(kind, first.marks);
      expect((await walk(kind)).records).toEqual([]);
      await made();
      expect((await walk(kind)).records).toHaveLength(first.records.length);
    });

    test("a payment that changes is exported again, also when it changed before its mark", async () => {
      await drain("payments");
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      const early = await walk("payments");
      expect(idsOf(early.records)).toEqual([asked.id]);
      await world.ledger.deliver(asked.id, fence, undefined);
      await world.ledger.markExported("payments", early.marks);
      expect(idsOf((await walk("payments")).records)).toEqual([asked.id]);
      expect(idsOf(await drain("payments"))).toEqual([asked.id]);
      // The walk that read the older version marks last.
      await world.ledger.markExported("payments", early.marks);
      expect(idsOf((await walk("payments")).records)).toEqual([]);
    });

    test("each way in which a payment changes makes it another version; a longer lease does not", async () => {
      const asked = request();
      const { id } = asked;
      const seen = new Set<string>();
      const expectAnother = async () => {
        const record = await world.ledger.payment(id);
        if (record === undefined) throw new Error("The payment is gone.");
        const version = paymentVersion(record);
        expect(seen.has(version)).toBe(false);
        seen.add(version);
        expect(idsOf(await drain("payments"))).toContain(id);
        expect(idsOf((await walk("payments")).records)).not.toContain(id);
      };
      const { ledger } = world;
      const fence = await claimed(ledger, asked);
      await expectAnother();
      await ledger.renew([{ id, fence }], LEASE_MS);
      expect(idsOf((await walk("payments")).records)).not.toContain(id);
      await ledger.beginSettle(id, fence, LEASE_MS);
      await expectAnother();
      await ledger.orphan(id, fence);
      await expectAnother();
      await ledger.release(id, fence, { reason: "refused", watched: true, strikeMs: 0 });
      await expectAnother();
      const taken = await ledger.takeUndecided(id, 1n, LEASE_MS);
      if (taken === "lost") throw new Error("Not taken.");
      await expectAnother();
      await ledger.decide(id, taken.fence, { verdict: "absent", reason: "expired" }, 0);
      await expectAnother();
    });
  });

  describe("trimming", () => {
    test("younger than a day is refused", async () => {
      for (const kind of EXPORT_KINDS) {
        await expect(world.ledger.trimExported(kind, DAY_MS - 1)).rejects.toThrow(/trim/);
      }
    });

    test("leaves what was not exported, and what is younger", async () => {
      await drainAndTrim();
      world.pass(DAY_MS);
      await drainAndTrim();
      const buyer = await customer(world.ledger, 100n);
      await spend(world.ledger, buyer, 30n);
      const asked = request();
      await bring(world.ledger, asked, "delivered");
      // A store may keep its newest usage record for its number's sake: until now.
      await world.ledger.trimExported("usage", DAY_MS);
      const left = async () => [
        await world.ledger.journal(buyer.account),
        await world.ledger.usage({ account: buyer.account, limit: 10 }),
        await world.ledger.payment(asked.id),
      ];
      const before = await left();
      world.pass(DAY_MS);
      for (const kind of EXPORT_KINDS) expect(await world.ledger.trimExported(kind, DAY_MS)).toBe(0);
      for (const kind of EXPORT_KINDS) await drain(kind);
      for (const kind of EXPORT_KINDS) expect(await world.ledger.trimExported(kind, DAY_MS + 1)).toBe(0);
      expect(await left()).toEqual(before);
      await world.ledger.recordUsage(usageOf(await held(world.ledger, buyer, 1n)), 0n);
      expect(await world.ledger.trimExported("journal", DAY_MS)).toBe(2);
      expect(await world.ledger.trimExported("usage", DAY_MS)).toBe(1);
      expect(await world.ledger.trimExported("payments", DAY_MS)).toBe(1);
      const [journal, usage, payment] = await left();
      expect([journal, payment]).toEqual([[], undefined]);
      expect(usage).toHaveLength(1);
    });

    test("changes no balance, no key's usage and no check, and calls go on", async () => {
      const one = await customer(world.ledger, 1_000n, { limit: 500n });
      const two = await customer(world.ledger, 9_007_199_254_740_993_000n);
      for (const cost of [30n, 20n]) await spend(world.ledger, one, cost);
      await spend(world.ledger, two, 9_007_199_254_740_993n);
      const open = await held(world.ledger, one, 40n);
      const state = async () => [
        await purse(world.ledger, one.account),
        await purse(world.ledger, two.account),
        { ...(await world.ledger.key(one.keyId)), status: undefined },
        { ...(await world.ledger.key(two.keyId)), status: undefined },
      ];
      await drain("journal");
      await spend(world.ledger, one, 5n);
      const before = await state();
      world.pass(DAY_MS);
      await world.ledger.trimExported("journal", DAY_MS);
      expect(await state()).toEqual(before);
      expect(await world.ledger.journal(two.account)).toEqual([]);
      expect(await world.ledger.journal(one.account)).toMatchObject([{ amount: -5n, balance: 945n }]);
      expect(await world.ledger.checkAccounts()).toEqual([]);
      await world.ledger.capture(captures(open, 40n));
      await spend(world.ledger, two, 1n);
      await drain("journal");
      world.pass(DAY_MS);
      await world.ledger.trimExported("journal", DAY_MS);
      expect(await purse(world.ledger, one.account)).toEqual({ balance: 905n, held: 0n });
      expect((await world.ledger.key(two.keyId))?.usage).toBe(9_007_199_254_740_994n);
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test("references of credits stay: none counts twice", async () => {
      const asked = request();
      await bring(world.ledger, asked, "credited");
      const id = await account(world.ledger, 0n);
      await world.ledger.creditAccount(id, 70n, "invoice");
      await drain("journal");
      world.pass(DAY_MS);
      await world.ledger.trimExported("journal", DAY_MS);
      expect(await world.ledger.journal(id)).toEqual([]);
      expect(await world.ledger.creditAccount(id, 70n, "invoice")).toEqual({
        outcome: "repeated",
        balance: 70n,
      });
      expect(await world.ledger.creditAccount(id, 71n, "invoice")).toMatchObject({ outcome: "conflict" });
      expect(await world.ledger.creditTransfer(landed(asked))).toBe("repeated");
      expect(await world.ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });

    test.each(STANDS)("of a payment that is %s", async (stand) => {
      const asked = request({ identifierHash: `trim-${stand}` });
      await bring(world.ledger, asked, stand);
      await drain("payments");
      world.pass(DAY_MS);
      const before = await world.ledger.payment(asked.id);
      await world.ledger.trimExported("payments", DAY_MS);
      const after = await world.ledger.payment(asked.id);
      expect(after).toEqual(FINISHED.includes(stand) ? undefined : before);
    });

    test("a payment that was exported open and changed later stays until it is exported again", async () => {
      const asked = request();
      const fence = await bring(world.ledger, asked, "settled");
      await drain("payments");
      await world.ledger.deliver(asked.id, fence, keep("an answer"));
      world.pass(DAY_MS);
      await world.ledger.trimExported("payments", DAY_MS);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "delivered" });
      await drain("payments");
      await world.ledger.trimExported("payments", DAY_MS);
      expect(await world.ledger.payment(asked.id)).toBeUndefined();
    });

    test("a released payment that was exported and is claimed anew stays", async () => {
      const asked = request();
      await bring(world.ledger, asked, "released");
      await drain("payments");
      world.pass(DAY_MS);
      const fence = await claimed(world.ledger, asked);
      await world.ledger.trimExported("payments", DAY_MS);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "open", fence });
      expect(await world.ledger.beginSettle(asked.id, fence, LEASE_MS)).toBe("ok");
    });

    test("a released payment that was exported and is claimed anew stays, also when that was exported", async () => {
      const asked = request({ leaseMs: 3 * DAY_MS });
      await bring(world.ledger, asked, "released");
      await drain("payments");
      await claimed(world.ledger, asked);
      expect(idsOf(await drain("payments"))).toContain(asked.id);
      world.pass(DAY_MS);
      await world.ledger.trimExported("payments", DAY_MS);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "open", leased: true });
    });

    test("a released payment that was exported, claimed anew and served stays until that is exported", async () => {
      const asked = request();
      await bring(world.ledger, asked, "released");
      await drain("payments");
      await bring(world.ledger, asked, "delivered");
      world.pass(DAY_MS);
      await world.ledger.trimExported("payments", DAY_MS);
      expect(await world.ledger.payment(asked.id)).toMatchObject({ state: "delivered" });
      expect(idsOf(await drain("payments"))).toContain(asked.id);
    });

    test.each(["delivered", "credited"] as const)(
      "what was %s is never claimed, served or credited again",
      async (stand) => {
        const asked = request({ identifierHash: `gone-${stand}` });
        await bring(world.ledger, asked, stand);
        await drainAndTrim();
        world.pass(DAY_MS);
        expect(await world.ledger.isTrimmed(asked.id)).toBe(false);
        await drainAndTrim();
        expect(await world.ledger.payment(asked.id)).toBeUndefined();
        expect(await world.ledger.isTrimmed(asked.id)).toBe(true);
        for (const admitNew of [true, false]) {
          expect(await world.ledger.claim({ ...asked, admitNew })).toEqual({ outcome: "trimmed" });
        }
        const balance = await world.ledger.balance(`wallet:${asked.payer}`);
        expect(await world.ledger.creditTransfer(landed(asked))).toBe("recorded");
        expect(await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId())).toBe("lost");
        expect(await world.ledger.balance(`wallet:${asked.payer}`)).toBe(balance);
        expect(await world.ledger.payment(asked.id)).toBeUndefined();
        // A new payment under its identifier is an ordinary one.
        const next = await world.ledger.claim({
          ...request(),
          payer: asked.payer,
          identifierHash: `gone-${stand}`,
        });
        expect(next.outcome).toBe("claimed");
      },
    );

    test("what stood in for others is trimmed with what it remembers of them", async () => {
      const asked = request();
      const others = [1, 2].map(() => ({ ...asked, id: randomId() }));
      await bring(world.ledger, asked, "parked");
      let fence = 0;
      for (const { id } of others) {
        const resumed = await world.ledger.resume(asked.id, asked.fingerprint, LEASE_MS, id);
        if (resumed === "lost") throw new Error("Expected to resume.");
        fence = resumed.fence;
        world.pass(LEASE_MS);
      }
      await world.ledger.deliver(asked.id, fence, undefined);
      await drain("payments");
      world.pass(DAY_MS);
      await drainAndTrim();
      expect(await world.ledger.isTrimmed(asked.id)).toBe(true);
      for (const other of others) expect((await world.ledger.claim(other)).outcome).toBe("claimed");
    });

    test("what was released and is trimmed may be claimed as new: nothing had moved", async () => {
      const asked = request();
      await bring(world.ledger, asked, "released");
      await drain("payments");
      world.pass(DAY_MS);
      await drainAndTrim();
      expect(await world.ledger.isTrimmed(asked.id)).toBe(false);
      expect(await world.ledger.creditTransfer(landed(asked))).toBe("credited");
      expect(await world.ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
    });

    test("after everything was trimmed, new records are still exported", async () => {
      await drainAndTrim();
      world.pass(DAY_MS);
      await drainAndTrim();
      const buyer = await customer(world.ledger, 100n);
      const asked = request();
      await spend(world.ledger, buyer, 30n);
      await bring(world.ledger, asked, "delivered");
      expect(referencesOf(await drain("journal"), buyer.account)).toHaveLength(2);
      expect(await drain("usage")).toMatchObject([{ usage: { account: buyer.account, charged: 30n } }]);
      expect(idsOf(await drain("payments"))).toEqual([asked.id]);
    });

    test("keyed calls, walks, marks, trims and checks at once: every entry is exported, and the sums stay right", async () => {
      await drain("journal");
      const buyers = await Promise.all([1, 2, 3].map(() => customer(world.ledger, 10_000n)));
      const seen = new Set<string>();
      const exporting = async () => {
        for (const kind of EXPORT_KINDS) {
          const { records, marks } = await walk(kind, 5);
          for (const record of records) if (record.kind === "journal") seen.add(record.entry.reference);
          await world.ledger.markExported(kind, marks);
          await world.ledger.trimExported(kind, DAY_MS);
        }
        return world.ledger.checkAccounts();
      };
      const spending = buyers.map(async (buyer) => {
        for (let call = 0; call < 20; call += 1) {
          const hold = await held(world.ledger, buyer, 10n);
          await world.ledger.capture(captures(hold, 10n));
          called.add(`hold:${hold.id}`);
          world.pass(DAY_MS / 4);
        }
      });
      const called = new Set<string>();
      const checks = await Promise.all([exporting(), exporting(), ...spending]);
      expect(checks.flat().filter((check) => check !== undefined)).toEqual([]);
      await exporting();
      expect(called.size).toBe(60);
      expect([...called].filter((reference) => !seen.has(reference))).toEqual([]);
      for (const { account: id } of buyers) {
        expect(await purse(world.ledger, id)).toEqual({ balance: 9_800n, held: 0n });
      }
      expect(await world.ledger.checkAccounts()).toEqual([]);
    });
  });
}

function landed({ id, payer, amount, asset, assetAmount, payTo, network, memo, feePayer }: ClaimRequest) {
  const transfer = { id, payer, amount, asset, assetAmount, payTo, network, memo, feePayer };
  return { ...transfer, transaction: "landed", reason: "never_presented" };
}
