import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { openDatabase } from "../../server/ledger/sqlite-schema.ts";
import { anotherKey, captures, held, purse } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { claimed, LEASE_MS, request, said } from "./world.ts";

const file = useLedgerFile();

/** The schema as the first release made it. A copy on purpose: files out there have it, whatever the code says by now. */
const FIRST_RELEASE = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE payment (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL
      CHECK (state IN ('open', 'settling', 'unknown', 'settled', 'delivered', 'credited', 'released')),
    fence INTEGER NOT NULL CHECK (fence > 0),
    lease_until INTEGER,
    fingerprint TEXT NOT NULL,
    payer TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    asset TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    network TEXT NOT NULL,
    x402_version INTEGER NOT NULL CHECK (x402_version IN (1, 2)),
    route TEXT NOT NULL,
    memo TEXT NOT NULL,
    fee_payer TEXT NOT NULL,
    claim_height INTEGER,
    tx TEXT,
    reason TEXT,
    watched INTEGER NOT NULL CHECK (watched IN (0, 1)),
    identifier TEXT,
    orphaned INTEGER NOT NULL DEFAULT 0 CHECK (orphaned IN (0, 1)),
    servings INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK (lease_until IS NULL OR state NOT IN ('delivered', 'credited')),
    CHECK (watched = 0 OR state IN ('open', 'settling', 'released')),
    CHECK (identifier IS NULL OR state <> 'released')
  ) STRICT;
  CREATE UNIQUE INDEX payment_identifier ON payment (identifier) WHERE identifier IS NOT NULL;
  CREATE INDEX payment_twin ON payment (payer, fingerprint) WHERE state IN ('settling', 'unknown', 'settled');
  CREATE INDEX payment_in_flight ON payment (payer, lease_until) WHERE state IN ('open', 'settling');
  CREATE INDEX payment_undecided ON payment (watched, updated_at) WHERE state IN ('settling', 'unknown') OR watched = 1;
  CREATE INDEX payment_idle ON payment (coalesce(lease_until, updated_at)) WHERE state = 'settled';

  CREATE TABLE payer (
    address TEXT PRIMARY KEY,
    upfront_until INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE response (
    payment INTEGER PRIMARY KEY REFERENCES payment (seq),
    sealed BLOB NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX response_expiry ON response (expires_at);

  CREATE TABLE account (
    id TEXT PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('owed_credit')),
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    at INTEGER NOT NULL,
    UNIQUE (account, reference)
  ) STRICT;
  `;

const PAYMENT_COLUMNS = `id, state, fence, lease_until, fingerprint, payer, amount, asset, pay_to, network, x402_version, route,
  memo, fee_payer, watched, identifier, created_at, updated_at`;

/** Payments under way, a stored answer, a strike against a payer, and one wallet that is owed twice. */
function leaveFirstRelease(now: number): void {
  mkdirSync(dirname(file.path), { recursive: true });
  const db = openLasting(file.path);
  db.exec("PRAGMA journal_mode = WAL");
  db.exec(FIRST_RELEASE);
  db.exec(`PRAGMA application_id = ${0x46415245}`);
  db.exec("PRAGMA user_version = 1");
  db.exec(`INSERT INTO meta VALUES ('network', 'local');
    INSERT INTO account VALUES ('wallet:ann', 30000);
    INSERT INTO journal (account, reference, kind, amount, balance, at) VALUES
      ('wallet:ann', 'payment:p1', 'owed_credit', 10000, 10000, 1),
      ('wallet:ann', 'payment:p2', 'owed_credit', 20000, 30000, 2);
    INSERT INTO payer VALUES ('eve', ${now + 60_000});`);
  const pay = db.prepare(`INSERT INTO payment (${PAYMENT_COLUMNS})
    VALUES (?, ?, 5, ?, 'print', 'ann', 20000, 'a', 'p', 'n', 2, 'POST /agent', 'm', 'fp', 0, ?, ${now}, ${now})`);
  pay.run("running", "open", now + LEASE_MS, null);
  pay.run("unclear", "unknown", null, null);
  pay.run("answered", "delivered", null, "the-identifier");
  db.prepare(`INSERT INTO response SELECT seq, ?, ${now + 60_000} FROM payment WHERE id = 'answered'`).run(
    Buffer.from("stored"),
  );
  db.close();
}

describe("a file of the first release", () => {
  const now = 1_700_000_000_000;

  test("has the schema of a new file afterwards", () => {
    leaveFirstRelease(now);
    const shape = (path: string) => {
      const db = openDatabase(path, "local");
      const tables = db
        .prepare<[], string>(
          "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1",
        )
        .pluck()
        .all();
      const columns = tables.map((table) => [
        table,
        db.prepare(`PRAGMA table_xinfo(${table})`).all(),
        db.prepare(`PRAGMA foreign_key_list(${table})`).all(),
      ]);
      const made = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").all();
      db.close();
      return { columns, made };
    };
    const upgraded = shape(file.path);
    expect(upgraded).toEqual(shape(`${file.path}.new`));
    expect(upgraded.columns.length).toBeGreaterThan(10);
  });

  test("keeps what was under way: leases, undecided payments, stored answers, strikes", async () => {
    leaveFirstRelease(now);
    const ledger = await file.openAt(() => now);
    const known = { payer: "ann", fingerprint: "print" };
    expect((await ledger.claim(request({ id: "running", ...known }))).outcome).toBe("in_progress");
    expect(await ledger.payment("running")).toMatchObject({ state: "open", fence: 5 });
    expect((await ledger.listUndecided(10)).map(({ id }) => id)).toEqual(["unclear"]);
    expect(said(await ledger.claim(request({ id: "answered", ...known })))).toBe("stored");
    const eve = await ledger.claim(request({ payer: "eve" }));
    expect(eve).toMatchObject({ outcome: "claimed", upfront: true });
    await claimed(ledger, request());
  });

  test("credits, holds and captures stand on the old balance, and the sums are right", async () => {
    leaveFirstRelease(now);
    const ledger = await file.openAt(() => now);
    const buyer = await anotherKey(ledger, "wallet:ann", { limit: 29_000n });
    const hold = await held(ledger, buyer, 29_000n);
    expect(await purse(ledger, "wallet:ann")).toEqual({ balance: 30_000n, held: 29_000n });
    await ledger.capture(captures(hold, 28_000n));
    expect(await ledger.creditAccount("wallet:ann", 7n, "payment:p1")).toEqual({
      outcome: "credited",
      balance: 2_007n,
    });
    expect(
      (await ledger.journal("wallet:ann")).map(({ reference, balance }) => [reference, balance]),
    ).toEqual([
      ["payment:p1", 10_000n],
      ["payment:p2", 30_000n],
      [`hold:${hold.id}`, 2_000n],
      ["credit:payment:p1", 2_007n],
    ]);
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("opened by two at once is upgraded once", async () => {
    leaveFirstRelease(now);
    const [one, two] = await Promise.all([file.open(), file.open()]);
    expect(await two.creditAccount("wallet:ann", 1n, "r")).toMatchObject({ balance: 30_001n });
    expect(await one.balance("wallet:ann")).toBe(30_001n);
    expect(await one.journal("wallet:ann")).toHaveLength(3);
    expect(await one.checkAccounts()).toEqual([]);
  });
});
