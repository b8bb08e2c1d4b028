import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { MIGRATIONS } from "../../server/ledger/sqlite-migrations.ts";
import { anotherKey, spend } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { bring, request } from "./world.ts";

const file = useLedgerFile();
const VAST = 9_007_199_254_740_993n;

/** An empty ledger as that version left it, open. */
function leave(version: number): Database.Database {
  mkdirSync(dirname(file.path), { recursive: true });
  const db = openLasting(file.path);
  db.exec("PRAGMA journal_mode = WAL");
  for (const migration of MIGRATIONS.slice(0, version)) db.exec(migration);
  db.exec(`
    PRAGMA application_id = ${0x46415245};
    PRAGMA user_version = ${version};
    INSERT INTO meta VALUES ('network', 'local');
  `);
  return db;
}

/** A ledger as the first version left it: a credited payment, a settled one, and two wallets that are owed. */
function leaveFirstVersion(): void {
  const db = leave(1);
  db.exec("PRAGMA foreign_keys = ON");
  db.exec(`
    INSERT INTO account VALUES ('wallet:ann', 50000), ('wallet:bob', ${VAST});
    INSERT INTO journal (seq, account, reference, kind, amount, balance, at) VALUES
      (7, 'wallet:ann', 'payment:a1', 'owed_credit', 20000, 20000, 1000),
      (8, 'wallet:bob', 'payment:b1', 'owed_credit', ${VAST}, ${VAST}, 2000),
      (12, 'wallet:ann', 'payment:a2', 'owed_credit', 30000, 50000, 3000);
  `);
  const payment = db.prepare(
    `INSERT INTO payment (id, state, fence, lease_until, fingerprint, payer, amount, asset, pay_to, network, x402_version,
       route, memo, fee_payer, tx, watched, created_at, updated_at)
     VALUES (?, ?, 3, NULL, 'f', 'ann', 20000, 'a', 'p', 'n', 2, 'r', 'm', 'fp', 'tx', 0, 1, 2)`,
  );
  payment.run("a1", "credited");
  payment.run("a3", "settled");
  db.close();
}

describe("a ledger of the first version", () => {
  test("keeps its balances, journal and payments", async () => {
    leaveFirstVersion();
    const ledger = await file.open();
    expect(await ledger.accounts()).toEqual([
      { id: "wallet:ann", name: "", balance: 50_000n, held: 0n, createdAt: 0 },
      { id: "wallet:bob", name: "", balance: VAST, held: 0n, createdAt: 0 },
    ]);
    const entry = { account: "wallet:ann", kind: "owed_credit" };
    expect(await ledger.journal("wallet:ann")).toEqual([
      { ...entry, reference: "payment:a1", amount: 20_000n, balance: 20_000n, at: 1_000 },
      { ...entry, reference: "payment:a2", amount: 30_000n, balance: 50_000n, at: 3_000 },
    ]);
    expect(await ledger.payment("a1")).toMatchObject({ state: "credited" });
    expect(await ledger.payment("a3")).toMatchObject({ state: "settled", fence: 3, transaction: "tx" });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("goes on: what was owed can be spent with a key, and nothing is credited twice", async () => {
    leaveFirstVersion();
    const ledger = await file.open();
    await spend(ledger, await anotherKey(ledger, "wallet:ann"), 45_000n);
    const [taken] = await ledger.takeAbandoned(0, 1_000, 10);
    expect(await ledger.credit("a3", taken?.fence ?? 0, "x")).toBe("ok");
    await bring(ledger, request({ id: "a2", payer: "ann" }), "credited");
    expect(await ledger.journal("wallet:ann")).toMatchObject([
      { reference: "payment:a1" },
      { reference: "payment:a2" },
      { kind: "capture", amount: -45_000n, balance: 5_000n },
      { reference: "payment:a3", amount: 20_000n, balance: 25_000n },
    ]);
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("numbers its journal onwards, and is whole", async () => {
    leaveFirstVersion();
    const ledger = await file.open();
    await ledger.creditAccount("wallet:bob", 1n, "r");
    await ledger.close();
    const db = openLasting(file.path);
    expect(db.prepare("SELECT seq FROM journal ORDER BY seq").pluck().all()).toEqual([7, 8, 12, 13]);
    expect(db.prepare("PRAGMA integrity_check").pluck().get()).toBe("ok");
    expect(db.prepare("PRAGMA foreign_key_check").all()).toEqual([]);
    expect(db.prepare("PRAGMA user_version").pluck().get()).toBe(MIGRATIONS.length);
    db.close();
    expect(await (await file.open()).balance("wallet:bob")).toBe(VAST + 1n);
  });

  test("that cannot be upgraded is left as it was", async () => {
    leaveFirstVersion();
    file.meddle("CREATE TABLE hold (id TEXT)");
    await expect(file.open()).rejects.toThrow("already exists");
    const db = openLasting(file.path);
    expect(db.prepare("PRAGMA user_version").pluck().get()).toBe(1);
    expect(db.prepare("SELECT count(*) FROM journal").pluck().get()).toBe(3);
    db.close();
    file.meddle("DROP TABLE hold");
    expect(await (await file.open()).balance("wallet:ann")).toBe(50_000n);
  });
});

describe("a ledger from before top-ups had a kind of their own", () => {
  function leaveTopUps(): void {
    const db = leave(5);
    db.exec(`
      INSERT INTO account (id, balance, trimmed) VALUES ('wallet:ann', 50000, 30000);
      INSERT INTO journal (seq, account, reference, kind, amount, balance, at) VALUES
        (7, 'wallet:ann', 'payment:a1', 'owed_credit', 20000, 50000, 1000),
        (12, 'wallet:ann', 'payment:a2', 'owed_credit', 30000, 50000, 3000);
      DELETE FROM journal WHERE seq = 12;
    `);
    db.prepare(
      `INSERT INTO payment (id, state, fence, fingerprint, payer, amount, asset, pay_to, network, x402_version, route, memo,
         fee_payer, tx, watched, created_at, updated_at)
       VALUES ('a1', 'settled', 3, 'f', 'bob', 20000, 'a', 'p', 'n', 2, 'r', 'm', 'fp', 'tx', 0, 1, 2)`,
    ).run();
    db.close();
  }

  test("reads its old entries and records, and moves what its records say", async () => {
    leaveTopUps();
    const ledger = await file.open();
    expect(await ledger.journal("wallet:ann")).toMatchObject([{ kind: "owed_credit", amount: 20_000n }]);
    const record = { amount: 20_000n, assetAmount: 20_000n, isTopUp: false };
    expect(await ledger.payment("a1")).toMatchObject(record);
    await bring(ledger, request({ id: "t1", payer: "ann", isTopUp: true }), "credited");
    expect(await ledger.journal("wallet:ann")).toMatchObject([{ kind: "owed_credit" }, { kind: "topup" }]);
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("numbers its journal after the newest entry that ever was, though that is trimmed", async () => {
    leaveTopUps();
    const ledger = await file.open();
    await ledger.creditAccount("wallet:ann", 1n, "r");
    await ledger.close();
    const db = openLasting(file.path);
    expect(db.prepare("SELECT seq FROM journal ORDER BY seq").pluck().all()).toEqual([7, 13]);
    expect(db.prepare("PRAGMA integrity_check").pluck().get()).toBe("ok");
    db.close();
  });
});

describe("a ledger from before accounts had turns to be told of their alerts", () => {
  test("goes on telling what was due, each account of its oldest, and numbers new ones onwards", async () => {
    const db = leave(8);
    db.exec(`
      INSERT INTO account (id, balance) VALUES ('wallet:ann', 500), ('wallet:bob', 500);
      INSERT INTO alert_settings (account, low_balance, key_80, key_100, url, master_key, sealed, webhook_at) VALUES
        ('wallet:ann', 100, 1, 1, 'https://hooks.example.com/a', 'm', x'01', 1000),
        ('wallet:bob', 100, 1, 1, 'https://hooks.example.com/b', 'm', x'02', 1000);
      INSERT INTO account_alert (id, kind, account, amount, threshold, at, attempt, delivery, due_at) VALUES
        (3, 'low_balance', 'wallet:ann', 90, 100, 2000, 0, 'delivered', NULL),
        (4, 'low_balance', 'wallet:ann', 80, 100, 3000, 2, 'pending', 9000),
        (5, 'low_balance', 'wallet:ann', 70, 100, 4000, 0, 'pending', 4000),
        (6, 'low_balance', 'wallet:bob', 60, 100, 5000, 0, 'pending', 5000),
        (9, 'low_balance', 'wallet:bob', 50, 100, 6000, 0, 'none', NULL);
      DELETE FROM account_alert WHERE id = 9;
    `);
    db.close();
    const ledger = await file.open();
    expect(await ledger.takeAccountAlerts(10, 1_000)).toMatchObject([
      {
        id: 4,
        account: "wallet:ann",
        attempt: 3,
        amount: 80n,
        webhook: { url: "https://hooks.example.com/a" },
      },
      { id: 6, account: "wallet:bob", attempt: 1, amount: 60n },
    ]);
    await spend(ledger, await anotherKey(ledger, "wallet:bob"), 450n);
    expect((await ledger.accountAlerts("wallet:bob")).map(({ id }) => id)).toEqual([10, 6]);
    expect((await ledger.accountAlerts("wallet:ann")).map(({ delivery }) => delivery)).toEqual([
      "pending",
      "pending",
      "delivered",
    ]);
  });
});
