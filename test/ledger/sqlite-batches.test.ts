import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UNRESTRICTED } from "../../server/ledger/account-ledger.ts";
import type { Hold, HoldOutcome } from "../../server/ledger/call-ledger.ts";
import { type BatchRunner, createBatchRunner } from "../../server/ledger/sqlite-batches.ts";
import type { Call, FromWorker } from "../../server/ledger/sqlite-messages.ts";
import { openDatabase } from "../../server/ledger/sqlite-schema.ts";
import { asks, captures, secret } from "./customers.ts";
import { LEASE_MS, request } from "./world.ts";

const ACCOUNT = "acct_1";
const KEY = { hash: secret().hash };

let directory: string;
let path: string;
let db: Database.Database;
/** What the worker would have said. */
let said: FromWorker[];
let batches: BatchRunner;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "farebox-batches-"));
  path = join(directory, "ledger.db");
  db = openDatabase(path, "local");
  said = [];
  batches = createBatchRunner(db, (message) => said.push(message));
  run({ method: "createAccount", args: [ACCOUNT, "a customer"] });
  run({ method: "creditAccount", args: [ACCOUNT, 1_000n, "first"] });
  const made = { ...secret(), ...KEY };
  run({ method: "createKey", args: ["key_1", ACCOUNT, made, { label: "", ...UNRESTRICTED }, undefined] });
});

afterEach(() => {
  db.close();
  rmSync(directory, { recursive: true });
});

function run(...calls: readonly Call[]) {
  said.length = 0;
  return batches.run(calls, []);
}

const hold = (amount: bigint): Call => ({ method: "hold", args: [asks(KEY, amount)] });
const capture = (held: Hold, cost: bigint, unhurried = true): Call => ({
  method: "capture",
  args: [captures(held, cost, { unhurried })],
});
const credit = (reference: string, amount = 5n): Call => ({
  method: "creditAccount",
  args: [ACCOUNT, amount, reference],
});

function held(amount: bigint): Hold {
  run(hold(amount));
  const [message] = said;
  if (message?.kind !== "early") throw new Error("Expected an early answer.");
  const outcome = message.answers[0]?.[2] as HoldOutcome;
  if (outcome.outcome !== "held") throw new Error(`Expected held, got ${outcome.outcome}.`);
  return outcome.hold;
}

/** As another process sees it. */
function balanceElsewhere(): number {
  const other = new Database(path, { readonly: true });
  const balance = other.prepare<[], number>("SELECT balance FROM account").pluck().get();
  other.close();
  return balance ?? Number.NaN;
}

const charged = (amount: bigint) => [0, "value", { outcome: "captured", charged: amount, shortfall: 0n }];
const HELD = expect.objectContaining({ outcome: "held" });
const admitted = [0, "value", HELD];
const credited = [0, "value", expect.anything()];

describe("a capture that nobody waits for", () => {
  test("waits for its COMMIT with what comes behind it, and is told when that is durable", () => {
    const call = held(100n);
    expect(run(capture(call, 60n))).toBe("open");
    expect(said).toEqual([{ kind: "applied", answers: [] }]);
    expect(balanceElsewhere()).toBe(1_000);
    // Who comes next has the money, and waits for no COMMIT.
    expect(run(hold(940n))).toBe("open");
    expect(said).toEqual([{ kind: "applied", answers: [admitted] }]);
    expect(run(credit("second"))).toBe("ended");
    expect(said).toEqual([{ kind: "committed", answers: [[charged(60n)], [], [credited]], ends: true }]);
    expect(balanceElsewhere()).toBe(945);
  });

  test("is committed alone when nothing comes, once", () => {
    run(capture(held(100n), 60n));
    said.length = 0;
    expect(batches.commit()).toBe(true);
    expect(said).toEqual([{ kind: "committed", answers: [[charged(60n)]], ends: false }]);
    expect(balanceElsewhere()).toBe(940);
    expect(batches.commit()).toBe(true);
    expect(said).toHaveLength(1);
  });

  test("beside one that somebody waits for is committed at once", () => {
    const [first, second] = [held(10n), held(20n)];
    expect(run(capture(first, 10n), capture(second, 20n, false))).toBe("ended");
    expect(said.map(({ kind }) => kind)).toEqual(["committed"]);
    expect(balanceElsewhere()).toBe(970);
  });

  test("is written with an fsync, whichever way it is committed", () => {
    const synced = () => db.pragma("synchronous", { simple: true });
    const call = held(10n);
    expect(synced()).toBe(1);
    run(capture(call, 10n));
    expect(synced()).toBe(2);
    batches.commit();
    expect(synced()).toBe(2);
  });

  test("keeps no read waiting, and a read keeps no writer waiting", () => {
    run(capture(held(100n), 60n));
    said.length = 0;
    expect(batches.run([{ method: "balance", args: [ACCOUNT] }], [])).toBe("ended");
    expect(said).toEqual([
      { kind: "committed", answers: [[charged(60n)]], ends: false },
      { kind: "early", answers: [[0, "value", 940n]] },
      { kind: "committed", answers: [[]], ends: true },
    ]);
    expect(db.inTransaction).toBe(false);
  });
});

describe("behind a capture that is applied and not committed", () => {
  const inject = (when: string, how: string) =>
    db.exec(
      `CREATE TRIGGER fault AFTER UPDATE ON account WHEN ${when} BEGIN SELECT raise(${how}, 'injected'); END`,
    );

  test("a call that fails undoes itself alone", () => {
    inject("new.balance > 1000", "ABORT");
    run(capture(held(100n), 60n));
    expect(run(hold(10n), credit("broken", 500n), hold(20n))).toBe("ended");
    const [early, committed] = said;
    expect(early).toMatchObject({
      kind: "early",
      answers: [
        [0, "value", HELD],
        [2, "value", HELD],
      ],
    });
    const answers = [[charged(60n)], [[1, "fault", "injected"]]];
    expect(committed).toEqual({ kind: "committed", answers, ends: true });
    const account = db.prepare("SELECT balance, held FROM account").get();
    expect(account).toEqual({ balance: 940, held: 30 });
    expect(db.prepare("SELECT count(*) FROM hold").pluck().get()).toBe(2);
  });

  test("what rolls back the whole transaction stops the process: what was answered is gone", () => {
    inject("new.balance > 1000", "ROLLBACK");
    run(capture(held(100n), 60n));
    expect(run(credit("broken", 500n))).toBe("lost");
    expect(said).toEqual([{ kind: "failed", message: "injected", fatal: true }]);
    expect(balanceElsewhere()).toBe(1_000);
  });

  test("a COMMIT that fails stops the process, also when nothing came behind it", () => {
    db.exec(`CREATE TABLE child (parent INTEGER REFERENCES api_key (seq) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER fault AFTER INSERT ON journal WHEN new.kind = 'capture'
      BEGIN INSERT INTO child VALUES (-1); END`);
    run(capture(held(100n), 60n));
    said.length = 0;
    expect(batches.commit()).toBe(false);
    expect(said).toEqual([{ kind: "failed", message: expect.stringContaining("FOREIGN KEY"), fatal: true }]);
    expect(balanceElsewhere()).toBe(1_000);
  });
});

test("a payment's delivery waits for its COMMIT too; nothing else of a payment does", () => {
  const asked = request();
  const outcomes = [
    run({ method: "claim", args: [asked] }),
    run({ method: "beginSettle", args: [asked.id, 1, LEASE_MS] }),
    run({ method: "settled", args: [asked.id, 1, "tx", undefined] }),
    run({ method: "deliver", args: [asked.id, 1, undefined, undefined] }),
  ];
  expect(outcomes).toEqual(["ended", "ended", "ended", "open"]);
  expect(run({ method: "ping", args: [] })).toBe("ended");
  const answers = [[[0, "value", "ok"]], [[0, "value", undefined]]];
  expect(said).toEqual([{ kind: "committed", answers, ends: true }]);
});

test("holds alone are committed at once, without an fsync", () => {
  expect(run(hold(10n), hold(20n))).toBe("ended");
  expect(said.map(({ kind }) => kind)).toEqual(["early", "committed"]);
  expect(db.pragma("synchronous", { simple: true })).toBe(1);
  expect(readFileSync(`${path}-wal`).length).toBeGreaterThan(0);
});
