import { describe, expect, test } from "vitest";
import type { Alert } from "../../server/ledger/account-ledger.ts";
import { account, anotherKey, captures, customer, held, newId, spend, usageOf } from "./customers.ts";
import { ALL, bring, request, type World } from "./world.ts";

const DAY_MS = 86_400_000;

export function accountContract(world: World): void {
  describe("accounts", () => {
    test("are made once, and start with nothing", async () => {
      const id = newId("acct");
      expect(await world.ledger.createAccount(id, "Acme")).toBe("created");
      const made = { id, name: "Acme", balance: 0n, held: 0n, createdAt: world.now() };
      expect(await world.ledger.account(id)).toEqual(made);
      world.pass(1);
      expect(await world.ledger.createAccount(id, "Other")).toBe("exists");
      expect(await world.ledger.account(id)).toEqual(made);
      expect(await world.ledger.accounts()).toContainEqual(made);
      expect(await world.ledger.account("acct_none")).toBeUndefined();
      expect(await world.ledger.balance("acct_none")).toBe(0n);
    });

    test("a wallet that is owed has one, without a name", async () => {
      const asked = request();
      await bring(world.ledger, asked, "credited");
      const id = `wallet:${asked.payer}`;
      expect(await world.ledger.account(id)).toEqual({
        id,
        name: "",
        balance: asked.amount,
        held: 0n,
        createdAt: world.now(),
      });
      // What is not listed is not checked either.
      expect((await world.ledger.accounts()).map((each) => each.id)).toContain(id);
      const buyer = await anotherKey(world.ledger, id);
      await spend(world.ledger, buyer, asked.amount);
      expect(await world.ledger.balance(id)).toBe(0n);
    });
  });

  describe("credits", () => {
    test("count once for each reference, also of 10 at once", async () => {
      const id = await account(world.ledger, 0n);
      const credits = await Promise.all(
        Array.from({ length: 10 }, () => world.ledger.creditAccount(id, 70n, "invoice 1")),
      );
      expect(credits).toEqual([
        { outcome: "credited", balance: 70n },
        ...Array(9).fill({ outcome: "repeated", balance: 70n }),
      ]);
      expect(await world.ledger.creditAccount(id, 71n, "invoice 1")).toEqual({
        outcome: "conflict",
        balance: 70n,
      });
      expect(await world.ledger.creditAccount(id, 71n, "invoice 2")).toEqual({
        outcome: "credited",
        balance: 141n,
      });
      expect(await world.ledger.journal(id)).toMatchObject([
        { kind: "credit", reference: "credit:invoice 1", amount: 70n, balance: 70n },
        { kind: "credit", reference: "credit:invoice 2", amount: 71n, balance: 141n },
      ]);
    });

    test("the same reference on another account is another credit; nobody's is refused", async () => {
      const [one, two] = [await account(world.ledger, 0n), await account(world.ledger, 0n)];
      await world.ledger.creditAccount(one, 5n, "r");
      expect(await world.ledger.creditAccount(two, 6n, "r")).toEqual({ outcome: "credited", balance: 6n });
      expect(await world.ledger.creditAccount("acct_none", 6n, "r")).toEqual({
        outcome: "not_found",
        balance: 0n,
      });
      expect(await world.ledger.account("acct_none")).toBeUndefined();
    });
  });

  describe("a customer's own upstream keys", () => {
    test("are stored in the place of the earlier one, listed without the key, and deleted", async () => {
      const id = await account(world.ledger, 0n);
      const sealed = (text: string) => ({
        masterKeyId: `m-${text}`,
        sealed: new TextEncoder().encode(text),
        last4: text.slice(-4),
      });
      const { ledger } = world;
      expect(await ledger.setProviderKey("acct_none", "openai", sealed("aaaa"))).toBe("not_found");
      expect(await ledger.setProviderKey(id, "openai", sealed("aaaa"))).toBe("stored");
      expect(await ledger.setProviderKey(id, "openai", sealed("bbbb"))).toBe("stored");
      expect(await ledger.setProviderKey(id, "anthropic", sealed("cccc"))).toBe("stored");
      const shown = (provider: string, last4: string) => ({
        account: id,
        provider,
        masterKeyId: `m-${last4}`,
        last4,
        createdAt: world.now(),
      });
      expect(await ledger.providerKeys(id)).toEqual([shown("anthropic", "cccc"), shown("openai", "bbbb")]);
      expect(await ledger.deleteProviderKey(id, "openai")).toBe(true);
      expect(await ledger.deleteProviderKey(id, "openai")).toBe(false);
      expect(await ledger.providerKeys(id)).toEqual([shown("anthropic", "cccc")]);
    });

    test("a call goes out on the one that was stored last", async () => {
      const buyer = await customer(world.ledger, 10n);
      const store = (text: string) =>
        world.ledger.setProviderKey(buyer.account, "openai", {
          masterKeyId: `m-${text}`,
          sealed: new TextEncoder().encode(text),
          last4: text,
        });
      await store("old1");
      world.pass(1);
      await store("new2");
      const { providerKey } = await held(world.ledger, buyer, 9n, { ownKeyRange: { most: 1n, least: 1n } });
      expect(providerKey).toMatchObject({ masterKeyId: "m-new2", last4: "new2" });
      expect(Buffer.from(providerKey?.sealed ?? []).toString()).toBe("new2");
      expect(await world.ledger.providerKeys(buyer.account)).toMatchObject([{ createdAt: world.now() }]);
    });
  });

  describe("alerts", () => {
    async function take(of: string, leaseMs = 1_000): Promise<Alert[]> {
      const taken = await world.ledger.takeAlerts(ALL, leaseMs);
      return taken.filter((alert) => alert.account === of);
    }

    test("80 % and 100 % of a key's limit, once each, in the step that crosses", async () => {
      const buyer = await customer(world.ledger, 10_000n, { limit: 100n, label: "ci" });
      await spend(world.ledger, buyer, 79n);
      expect(await take(buyer.account)).toEqual([]);
      await spend(world.ledger, buyer, 1n);
      const [eighty] = await take(buyer.account, DAY_MS);
      expect(eighty).toEqual({
        id: expect.any(Number),
        kind: "key_limit_80",
        account: buyer.account,
        keyId: buyer.keyId,
        keyLabel: "ci",
        amount: 80n,
        threshold: 100n,
        at: world.now(),
        attempt: 1,
      });
      await spend(world.ledger, buyer, 19n);
      expect(await take(buyer.account, DAY_MS)).toEqual([]);
      await spend(world.ledger, buyer, 1n);
      expect(await take(buyer.account, DAY_MS)).toMatchObject([{ kind: "key_limit_100", amount: 100n }]);
    });

    test("one call that crosses both says both; a new period says them again", async () => {
      const buyer = await customer(world.ledger, 10_000n, { limit: 100n, limitReset: "daily" });
      const both = [{ kind: "key_limit_80" }, { kind: "key_limit_100" }];
      await spend(world.ledger, buyer, 100n);
      expect(await take(buyer.account, 10 * DAY_MS)).toMatchObject(both);
      world.pass(DAY_MS);
      await spend(world.ledger, buyer, 100n);
      expect(await take(buyer.account, 10 * DAY_MS)).toMatchObject(both);
    });

    test("a low balance is told when it is crossed, and again after it was filled up", async () => {
      const buyer = await customer(world.ledger, 100n);
      const low = { lowBalance: 50n };
      await spend(world.ledger, buyer, 50n, low);
      expect(await take(buyer.account)).toEqual([]);
      await spend(world.ledger, buyer, 1n, low);
      const told = await take(buyer.account, DAY_MS);
      expect(told).toMatchObject([{ kind: "low_balance", amount: 49n, threshold: 50n, keyId: undefined }]);
      await spend(world.ledger, buyer, 1n, low);
      expect(await take(buyer.account, DAY_MS)).toEqual([]);
      await world.ledger.creditAccount(buyer.account, 10n, "second");
      await spend(world.ledger, buyer, 20n, low);
      expect(await take(buyer.account, DAY_MS)).toMatchObject([{ amount: 38n }]);
    });

    test("calls at once cross it once, and a repeated capture does not cross it again", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n });
      const holds = await Promise.all(Array.from({ length: 10 }, () => held(world.ledger, buyer, 10n)));
      const asked = holds.map((hold) => captures(hold, 10n, { lowBalance: 950n }));
      await Promise.all([...asked, ...asked].map((each) => world.ledger.capture(each)));
      expect((await take(buyer.account, DAY_MS)).map(({ kind }) => kind).sort()).toEqual([
        "key_limit_100",
        "key_limit_80",
        "low_balance",
      ]);
    });

    test("are leased: nobody else gets them until then; put off, or ended", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n });
      await spend(world.ledger, buyer, 80n);
      const both = await Promise.all([take(buyer.account), take(buyer.account)]);
      expect(both.flat()).toHaveLength(1);
      world.pass(999);
      expect(await take(buyer.account)).toEqual([]);
      world.pass(1);
      const [second] = await take(buyer.account);
      expect(second).toMatchObject({ attempt: 2 });
      await world.ledger.postponeAlert(second?.id ?? 0, 5_000);
      world.pass(4_999);
      expect(await take(buyer.account)).toEqual([]);
      world.pass(1);
      expect(await take(buyer.account)).toMatchObject([{ id: second?.id, attempt: 3 }]);
      await world.ledger.endAlert(second?.id ?? 0);
      world.pass(DAY_MS);
      expect(await take(buyer.account)).toEqual([]);
    });

    test("come a bounded number at a time, those due longest first", async () => {
      await world.ledger.takeAlerts(ALL, 100 * DAY_MS);
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n });
      const other = await customer(world.ledger, 1_000n, { limit: 100n });
      await spend(world.ledger, other, 80n);
      world.pass(1);
      await spend(world.ledger, buyer, 80n);
      expect(await world.ledger.takeAlerts(1, DAY_MS)).toMatchObject([{ account: other.account }]);
      expect(await world.ledger.takeAlerts(1, DAY_MS)).toMatchObject([{ account: buyer.account }]);
      expect(await world.ledger.takeAlerts(1, DAY_MS)).toEqual([]);
    });
  });

  describe("usage", () => {
    test("is filtered by account, key and time, and paged from the newest on", async () => {
      const one = await customer(world.ledger, 1_000n);
      const two = await anotherKey(world.ledger, one.account);
      const stranger = await customer(world.ledger, 1_000n);
      const costs = async (filter: Partial<Parameters<typeof world.ledger.usage>[0]>) =>
        (await world.ledger.usage({ account: one.account, limit: 100, ...filter })).map(
          ({ charged }) => charged,
        );
      const times: number[] = [];
      for (let cost = 1n; cost <= 6n; cost += 1n) {
        world.pass(10);
        times.push(world.now());
        await spend(world.ledger, cost % 2n === 0n ? two : one, cost);
        await spend(world.ledger, stranger, 900n / 6n);
      }
      expect(await costs({})).toEqual([6n, 5n, 4n, 3n, 2n, 1n]);
      expect(await costs({ keyId: two.keyId })).toEqual([6n, 4n, 2n]);
      expect(await costs({ account: undefined, keyId: one.keyId })).toEqual([5n, 3n, 1n]);
      expect(await costs({ since: times[3] })).toEqual([6n, 5n, 4n]);
      expect(await costs({ since: (times[3] ?? 0) + 1 })).toEqual([6n, 5n]);
      expect(await costs({ keyId: two.keyId, since: times[3], limit: 1 })).toEqual([6n]);
      const seen: bigint[] = [];
      for (let before: number | undefined; ; ) {
        const page = await world.ledger.usage({ account: one.account, before, limit: 4 });
        seen.push(...page.map(({ charged }) => charged));
        if (page.length === 0) break;
        before = page.at(-1)?.id;
      }
      expect(seen).toEqual([6n, 5n, 4n, 3n, 2n, 1n]);
      expect(await costs({ keyId: stranger.keyId })).toEqual([]);
    });

    test("of a call that no hold paid for is recorded as it is told", async () => {
      const payer = newId("acct");
      const facts = {
        tier: "x402",
        account: undefined,
        keyId: undefined,
        keyLabel: undefined,
        payer,
        route: "POST /agent",
        model: undefined,
        provider: undefined,
        promptTokens: undefined,
        completionTokens: undefined,
        estimated: true,
        held: 0n,
        upstreamCost: 9_007_199_254_740_993n,
        status: undefined,
        upstreamStatus: undefined,
        ms: 3,
        transaction: "tx",
        notCharged: undefined,
      } as const;
      world.pass(1_000);
      await world.ledger.recordUsage(facts, 20_000n);
      await world.ledger.recordUsage(facts, 20_000n);
      const found = (await world.ledger.usage({ limit: 2 })).filter((record) => record.payer === payer);
      const expected = { ...facts, id: expect.any(Number), at: world.now(), charged: 20_000n };
      expect(found).toEqual([expected, expected]);
    });

    test("keeps every fact of a keyed call", async () => {
      const buyer = await customer(world.ledger, 1_000n, { label: "ci" });
      const hold = await held(world.ledger, buyer, 10n);
      const usage = usageOf(hold, { estimated: true, upstreamCost: 7n, status: 201, ms: 1_234 });
      await world.ledger.capture(captures(hold, 10n, { usage }));
      expect(await world.ledger.usage({ keyId: buyer.keyId, limit: 1 })).toMatchObject([usage]);
    });
  });
}
