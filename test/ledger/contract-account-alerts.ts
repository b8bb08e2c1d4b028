import { describe, expect, test } from "vitest";
import {
  type AccountWebhook,
  ALERTS_AN_HOUR,
  type AlertWishes,
  type DueAccountAlert,
  MAX_ACCOUNT_ALERTS,
  MAX_FAILURES,
} from "../../server/ledger/account-alerts.ts";
import { account, anotherKey, type Customer, captures, customer, held, newId, spend } from "./customers.ts";
import { ALL, LEASE_MS, randomId, type World } from "./world.ts";

const HOUR_MS = 3_600_000;
const NOTHING: AlertWishes = { lowBalance: undefined, keyLimit80: false, keyLimit100: false };
const EVERYTHING: AlertWishes = { lowBalance: 50n, keyLimit80: true, keyLimit100: true };

function webhook(url = "https://hooks.example.com/a"): AccountWebhook {
  return { url, masterKeyId: "m1", sealed: Uint8Array.from([1, 2, 254, 255]) };
}

/** Alerts that accounts ask for themselves. */
export function accountAlertContract(world: World): void {
  const set = (of: string, wishes = EVERYTHING, where: AccountWebhook | "keep" | "none" = webhook()) =>
    world.ledger.setAlertSettings(of, wishes, where);
  const take = async (of: string, leaseMs = LEASE_MS): Promise<readonly DueAccountAlert[]> => {
    const taken = await world.ledger.takeAccountAlerts(ALL, leaseMs);
    return taken.filter((alert) => alert.account === of);
  };
  const listed = async (of: string) =>
    (await world.ledger.accountAlerts(of)).map(({ kind, amount, delivery }) => [kind, amount, delivery]);
  /** The balance falls below 50 once more. */
  const fall = async (buyer: Customer) => {
    await world.ledger.creditAccount(buyer.account, 100n, randomId());
    const balance = await world.ledger.balance(buyer.account);
    await spend(world.ledger, buyer, balance - 10n);
  };

  describe("an account's alert settings", () => {
    test("are stored, replaced, read and deleted; nobody's are refused", async () => {
      const id = await account(world.ledger, 0n);
      expect(await world.ledger.alertSettings(id)).toBeUndefined();
      expect(await set("acct_none")).toBe("not_found");
      expect(await world.ledger.alertSettings("acct_none")).toBeUndefined();
      expect(await set(id)).toBe("stored");
      const at = world.now();
      const stored = { ...EVERYTHING, webhook: { ...webhook(), createdAt: at, failures: 0 } };
      const read = async () => {
        const found = await world.ledger.alertSettings(id);
        const where = found?.webhook && { ...found.webhook, sealed: Uint8Array.from(found.webhook.sealed) };
        return found && { ...found, webhook: where };
      };
      expect(await read()).toEqual(stored);
      world.pass(5);
      const vast = { lowBalance: 9_007_199_254_740_993n, keyLimit80: false, keyLimit100: true };
      await set(id, vast, "keep");
      expect(await read()).toEqual({ ...stored, ...vast });
      await set(id, NOTHING, webhook("https://other.example/b"));
      expect(await read()).toMatchObject({
        ...NOTHING,
        webhook: { url: "https://other.example/b", createdAt: at + 5 },
      });
      await set(id, NOTHING, "none");
      expect(await read()).toEqual({ ...NOTHING, webhook: undefined });
      expect(await world.ledger.deleteAlertSettings(id)).toBe(true);
      expect(await world.ledger.deleteAlertSettings(id)).toBe(false);
      expect(await read()).toBeUndefined();
      await set(id, EVERYTHING, "keep");
      expect(await read()).toEqual({ ...EVERYTHING, webhook: undefined });
    });

    test("another secret takes the place of a webhook's, and makes no webhook", async () => {
      const id = await account(world.ledger, 0n);
      const secret = { masterKeyId: "m2", sealed: Uint8Array.from([9]) };
      expect(await world.ledger.replaceAlertSecret(id, secret)).toBe(false);
      await set(id, NOTHING, "none");
      expect(await world.ledger.replaceAlertSecret(id, secret)).toBe(false);
      await set(id);
      expect(await world.ledger.replaceAlertSecret(id, secret)).toBe(true);
      const found = await world.ledger.alertSettings(id);
      expect(found?.webhook).toMatchObject({ url: webhook().url, masterKeyId: "m2" });
      expect([...(found?.webhook?.sealed ?? [])]).toEqual([9]);
    });
  });

  describe("alerts that an account asked for", () => {
    test("each crossing is recorded once, and the operator's are as without them", async () => {
      const buyer = await customer(world.ledger, 1_000n, { label: "prod", limit: 100n });
      await set(buyer.account, { ...EVERYTHING, lowBalance: 910n });
      await spend(world.ledger, buyer, 79n, { lowBalance: 930n });
      await spend(world.ledger, buyer, 10n, { lowBalance: 930n });
      await spend(world.ledger, buyer, 11n, { lowBalance: 930n });
      const ofKey = { keyId: buyer.keyId, keyLabel: "prod", threshold: 100n };
      const expected = [
        { ...ofKey, kind: "key_limit_100", amount: 100n },
        { keyId: undefined, keyLabel: undefined, threshold: 910n, kind: "low_balance", amount: 900n },
        { ...ofKey, kind: "key_limit_80", amount: 89n },
      ];
      const alerts = await world.ledger.accountAlerts(buyer.account);
      const common = { account: buyer.account, at: world.now(), delivery: "pending", id: expect.any(Number) };
      expect(alerts).toEqual(expected.map((alert) => ({ ...common, ...alert })));
      const operators = (await world.ledger.takeAlerts(ALL, 0)).filter(
        (each) => each.account === buyer.account,
      );
      for (const { id } of operators) await world.ledger.endAlert(id);
      expect(operators.map(({ kind, amount }) => [kind, amount]).sort()).toEqual([
        ["key_limit_100", 100n],
        ["key_limit_80", 89n],
        ["low_balance", 921n],
      ]);
    });

    test.each([
      [NOTHING, []],
      [{ ...NOTHING, lowBalance: 0n }, []],
      [{ ...NOTHING, lowBalance: 1n }, ["low_balance"]],
      [{ ...NOTHING, keyLimit80: true }, ["key_limit_80"]],
      [{ ...NOTHING, keyLimit100: true }, ["key_limit_100"]],
    ])("only what it wishes: %o", async (wishes, kinds) => {
      const buyer = await customer(world.ledger, 100n, { limit: 100n });
      await set(buyer.account, wishes);
      await spend(world.ledger, buyer, 100n);
      expect((await world.ledger.accountAlerts(buyer.account)).map(({ kind }) => kind)).toEqual(kinds);
    });

    test("nothing without settings, and nothing more after they were deleted", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n });
      await spend(world.ledger, buyer, 80n);
      expect(await listed(buyer.account)).toEqual([]);
      await set(buyer.account);
      await spend(world.ledger, buyer, 20n);
      await world.ledger.deleteAlertSettings(buyer.account);
      await fall(await anotherKey(world.ledger, buyer.account));
      // What was recorded can still be read; nobody is told any more.
      expect(await listed(buyer.account)).toEqual([["key_limit_100", 100n, "pending"]]);
      expect(await take(buyer.account)).toEqual([]);
      expect(await listed(buyer.account)).toEqual([["key_limit_100", 100n, "skipped"]]);
    });

    test("another account's calls are not its own", async () => {
      const [one, two] = [await customer(world.ledger, 100n), await customer(world.ledger, 100n)];
      await set(one.account);
      await spend(world.ledger, two, 90n);
      expect(await listed(one.account)).toEqual([]);
      expect(await listed(newId("acct"))).toEqual([]);
    });

    test("also by a capture after the sweep, and of a key that a first-party token has none of", async () => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account);
      const late = await held(world.ledger, buyer, 60n);
      world.pass(LEASE_MS);
      await held(world.ledger, await anotherKey(world.ledger, buyer.account), 1n);
      await world.ledger.capture(captures(late, 60n));
      expect(await listed(buyer.account)).toEqual([["low_balance", 40n, "pending"]]);
    });

    test("are leased with the webhook as it is now, put off, and ended once", async () => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account);
      await fall(buyer);
      await world.ledger.setAlertSettings(buyer.account, EVERYTHING, webhook("https://new.example/"));
      const [first] = await take(buyer.account);
      expect(first).toMatchObject({
        attempt: 1,
        kind: "low_balance",
        webhook: { url: "https://new.example/" },
      });
      expect([...(first?.webhook.sealed ?? [])]).toEqual([1, 2, 254, 255]);
      expect(await take(buyer.account)).toEqual([]);
      world.pass(LEASE_MS);
      expect(await take(buyer.account)).toMatchObject([{ id: first?.id, attempt: 2 }]);
      await world.ledger.postponeAccountAlert(first?.id ?? 0, 10);
      expect(await take(buyer.account)).toEqual([]);
      world.pass(10);
      expect(await take(buyer.account)).toMatchObject([{ attempt: 3 }]);
      await world.ledger.endAccountAlert(first?.id ?? 0, "delivered");
      await world.ledger.endAccountAlert(first?.id ?? 0, "failed");
      await world.ledger.postponeAccountAlert(first?.id ?? 0, 0);
      world.pass(LEASE_MS);
      expect(await take(buyer.account)).toEqual([]);
      expect(await listed(buyer.account)).toEqual([["low_balance", 10n, "delivered"]]);
      expect((await world.ledger.alertSettings(buyer.account))?.webhook?.failures).toBe(0);
    });

    test("without a webhook they are recorded and never due, also when there is one later", async () => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account, EVERYTHING, "none");
      await fall(buyer);
      await set(buyer.account);
      expect(await take(buyer.account)).toEqual([]);
      expect(await listed(buyer.account)).toEqual([["low_balance", 10n, "none"]]);
    });

    test("are told one after the other, oldest first: what becomes of one decides when the next is due", async () => {
      const buyer = await customer(world.ledger, 100n);
      const other = await customer(world.ledger, 100n);
      await set(buyer.account);
      await set(other.account);
      await fall(buyer);
      await fall(buyer);
      await fall(other);
      const ids = (await world.ledger.accountAlerts(buyer.account)).map(({ id }) => id).toReversed();
      expect(ids[0]).toBeLessThan(ids[1] ?? 0);
      const leased = await world.ledger.takeAccountAlerts(ALL, LEASE_MS);
      const ofBoth = leased.filter((alert) => [buyer.account, other.account].includes(alert.account));
      expect(ofBoth.map((alert) => alert.account).sort()).toEqual([buyer.account, other.account].sort());
      expect(ofBoth.find((alert) => alert.account === buyer.account)?.id).toBe(ids[0]);
      // Also one that is recorded meanwhile has to wait.
      await fall(buyer);
      expect(await take(buyer.account)).toEqual([]);
      await world.ledger.postponeAccountAlert(ids[0] ?? 0, 10);
      await fall(buyer);
      expect(await take(buyer.account)).toEqual([]);
      world.pass(10);
      expect(await take(buyer.account)).toMatchObject([{ id: ids[0], attempt: 2 }]);
      await world.ledger.endAccountAlert(ids[0] ?? 0, "failed");
      expect(await take(buyer.account)).toMatchObject([{ id: ids[1], attempt: 1 }]);
      // Of one that has ended nothing is put off.
      await world.ledger.endAccountAlert(ids[1] ?? 0, "delivered");
      await world.ledger.postponeAccountAlert(ids[1] ?? 0, 10);
      expect(await take(buyer.account)).toMatchObject([{ attempt: 1 }]);
      expect((await listed(buyer.account)).map(([, , delivery]) => delivery)).toEqual([
        "pending",
        "pending",
        "delivered",
        "failed",
      ]);
    });

    test.each([
      ["a test that arrives", async (of: string) => world.ledger.resumeAlerts(of)],
      ["another secret", async (of: string) => world.ledger.replaceAlertSecret(of, webhook())],
      ["another webhook", async (of: string) => set(of, EVERYTHING, webhook("https://other.example/"))],
    ])("a webhook that fails is suspended; %s makes it active, saving it does not", async (_name, resume) => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account);
      const end = async (outcome: "delivered" | "failed") => {
        await fall(buyer);
        const [taken] = await take(buyer.account);
        if (taken !== undefined) await world.ledger.endAccountAlert(taken.id, outcome);
        return taken !== undefined;
      };
      for (let count = 1; count < MAX_FAILURES; count += 1) expect(await end("failed")).toBe(true);
      expect(await end("delivered")).toBe(true);
      for (let count = 0; count < MAX_FAILURES; count += 1) expect(await end("failed")).toBe(true);
      expect((await world.ledger.alertSettings(buyer.account))?.webhook?.failures).toBe(MAX_FAILURES);
      expect(await end("delivered")).toBe(false);
      expect((await listed(buyer.account))[0]).toEqual(["low_balance", 10n, "skipped"]);
      await set(buyer.account, EVERYTHING, "keep");
      expect(await end("delivered")).toBe(false);
      await resume(buyer.account);
      expect(await end("delivered")).toBe(true);
    });

    test("an account without settings has nothing to be made active", async () => {
      const id = await account(world.ledger, 0n);
      await world.ledger.resumeAlerts(id);
      expect(await world.ledger.alertSettings(id)).toBeUndefined();
    });

    test("those that wait when it is suspended are skipped", async () => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account);
      for (let count = 0; count <= MAX_FAILURES; count += 1) await fall(buyer);
      for (let count = 0; count < MAX_FAILURES; count += 1) {
        const [waiting] = await take(buyer.account);
        await world.ledger.endAccountAlert(waiting?.id ?? 0, "failed");
      }
      expect(await take(buyer.account)).toEqual([]);
      const deliveries = (await listed(buyer.account)).map(([, , delivery]) => delivery);
      expect(deliveries.sort()).toEqual([...Array(MAX_FAILURES).fill("failed"), "skipped"]);
    });

    test("so many an hour are told, and so many are kept", async () => {
      const buyer = await customer(world.ledger, 100n);
      await set(buyer.account);
      for (let count = 0; count < ALERTS_AN_HOUR + 1; count += 1) await fall(buyer);
      const states = (await listed(buyer.account)).map(([, , delivery]) => delivery);
      expect(states).toEqual(["skipped", ...Array(ALERTS_AN_HOUR).fill("pending")]);
      world.pass(HOUR_MS);
      for (let count = 0; count < MAX_ACCOUNT_ALERTS - ALERTS_AN_HOUR; count += 1) await fall(buyer);
      const kept = (await listed(buyer.account)).map(([, , delivery]) => delivery);
      expect(kept).toHaveLength(MAX_ACCOUNT_ALERTS);
      expect(kept.slice(0, MAX_ACCOUNT_ALERTS - ALERTS_AN_HOUR)).toEqual(
        Array(MAX_ACCOUNT_ALERTS - ALERTS_AN_HOUR).fill("pending"),
      );
      // The oldest was dropped while it waited.
      let told = 0;
      for (let taken = await take(buyer.account); taken[0] !== undefined; taken = await take(buyer.account)) {
        await world.ledger.endAccountAlert(taken[0].id, "delivered");
        told += 1;
      }
      expect(told).toBe(MAX_ACCOUNT_ALERTS - 1);
    });
  });
}
