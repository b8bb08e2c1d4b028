import { describe, expect, test } from "vitest";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import { asks, captures, customer, held, purse, spend } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { keep } from "./world.ts";

const file = useLedgerFile();

describe("what does not add up", () => {
  test("is found: a balance, a hold, a key's usage", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    await spend(ledger, buyer, 10n);
    await held(ledger, buyer, 20n);
    expect(await ledger.checkAccounts()).toEqual([]);
    file.meddle(`UPDATE account SET balance = balance + 1, held = held + 2;
      UPDATE api_key SET usage = usage + 3, held = held + 4`);
    const { account, keyId } = buyer;
    expect(await ledger.checkAccounts()).toEqual([
      { account, keyId: undefined, problem: "balance_is_not_its_journal", recorded: 991n, computed: 990n },
      { account, keyId: undefined, problem: "held_is_not_its_holds", recorded: 22n, computed: 20n },
      { account, keyId, problem: "held_is_not_its_holds", recorded: 24n, computed: 20n },
      { account, keyId, problem: "usage_is_not_its_journal", recorded: 13n, computed: 10n },
    ]);
  });

  test("cannot be written: more held than there is, less than nothing held", async () => {
    const ledger = await file.open();
    await customer(ledger, 1_000n);
    expect(() => file.meddle("UPDATE account SET held = balance + 1")).toThrow("CHECK");
    expect(() => file.meddle("UPDATE account SET held = -1")).toThrow("CHECK");
    expect(() => file.meddle("UPDATE api_key SET running = -1")).toThrow("CHECK");
    expect(await ledger.checkAccounts()).toEqual([]);
  });
});

describe("what survives", () => {
  test("of calls that are committed together one fails: it leaves nothing, and the others are applied once", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    const hold = await held(ledger, buyer, 100n);
    file.meddle(`CREATE TRIGGER fault AFTER UPDATE ON account WHEN new.balance > 1000
      BEGIN SELECT raise(ABORT, 'injected'); END`);
    const outcomes = await Promise.allSettled([
      ledger.hold(asks(buyer, 10n)),
      ledger.creditAccount(buyer.account, 500n, "broken"),
      ledger.capture(captures(hold, 60n)),
      ledger.hold(asks(buyer, 3n)),
      ledger.creditAccount(buyer.account, 5n, "small"),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
      "fulfilled",
    ]);
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 945n, held: 13n });
    expect((await ledger.journal(buyer.account)).map(({ reference, amount }) => [reference, amount])).toEqual(
      [
        ["credit:first", 1_000n],
        [`hold:${hold.id}`, -60n],
        ["credit:small", 5n],
      ],
    );
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("a failing COMMIT: nothing is told, and nothing is charged", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    const hold = await held(ledger, buyer, 100n);
    // A deferred constraint is checked by COMMIT, and fails it.
    file.meddle(`CREATE TABLE child (parent INTEGER REFERENCES usage (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER fault AFTER INSERT ON journal BEGIN INSERT INTO child VALUES (-1); END`);
    const outcomes = await Promise.allSettled([
      ledger.hold(asks(buyer, 1n)),
      ledger.capture(captures(hold, 60n)),
      ledger.creditAccount(buyer.account, 5n, "second"),
      ledger.revokeKey(buyer.keyId),
    ]);
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    expect(file.fatal).toEqual([expect.any(LedgerFault)]);
    await ledger.close();
    file.meddle("DROP TRIGGER fault");
    const next = await file.open();
    expect(await purse(next, buyer.account)).toEqual({ balance: 1_000n, held: 100n });
    expect(await next.capture(captures(hold, 60n))).toMatchObject({ outcome: "captured", charged: 60n });
    expect(await next.checkAccounts()).toEqual([]);
  });

  test("forgets idempotency keys and answers whose time is over, in the sweep", async () => {
    let now = 1_700_000_000_000;
    const ledger = await file.openAt(() => now);
    const buyer = await customer(ledger, 1_000n);
    const call = async (hash: string) => {
      const hold = await held(ledger, buyer, 1n, { idempotency: { hash, fingerprint: "f" } });
      await ledger.capture(captures(hold, 1n, { keep: keep("x", 1_000) }));
    };
    const rows = async (where: string) => {
      // Durable, so that what was done before is committed.
      await ledger.ping();
      return file.read(`SELECT count(*) FROM idempotent_call WHERE ${where}`);
    };
    for (const hash of "abcde") await call(hash);
    expect(await rows("sealed IS NOT NULL")).toBe(5);
    now += 1_000;
    await call("f");
    await ledger.sweepHolds();
    expect(await rows("sealed IS NOT NULL")).toBe(1);
    now += 86_400_000 - 1_000;
    await call("g");
    expect(await rows("1")).toBe(7);
    await ledger.sweepHolds();
    expect(await rows("1")).toBe(2);
  });

  test("a step that fails halfway charges nothing, and can be repeated", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    const hold = await held(ledger, buyer, 100n);
    file.meddle("CREATE TRIGGER fault BEFORE INSERT ON usage BEGIN SELECT raise(ABORT, 'injected'); END");
    await expect(ledger.capture(captures(hold, 60n))).rejects.toThrow("injected");
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 1_000n, held: 100n });
    expect(await ledger.journal(buyer.account)).toHaveLength(1);
    file.meddle("DROP TRIGGER fault");
    expect(await ledger.capture(captures(hold, 60n))).toMatchObject({ outcome: "captured", charged: 60n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("accounts, keys, holds, idempotency keys and alerts survive a close and a reopening", async () => {
    const first = await file.open();
    const buyer = await customer(first, 1_000n, { limit: 100n });
    const idempotency = { hash: "h", fingerprint: "f" };
    const hold = await held(first, buyer, 90n, { idempotency, leaseMs: 3_600_000 });
    await first.close();
    const second = await file.open();
    expect(await second.hold(asks(buyer, 1n, { idempotency }))).toEqual({ outcome: "in_progress" });
    await second.capture(captures(hold, 90n));
    await second.close();
    const third = await file.open();
    expect(await third.capture(captures(hold, 90n))).toMatchObject({ outcome: "repeated", charged: 90n });
    expect(await third.takeAlerts(10, 1_000)).toMatchObject([{ kind: "key_limit_80" }]);
    expect(await third.key(buyer.keyId)).toMatchObject({ spent: 90n, held: 0n });
  });
});
