import { once } from "node:events";
import { readFileSync, rmSync, symlinkSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import { asks, captures, customer, held } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { bring, claimed, keep, LEASE_MS, request } from "./world.ts";

const file = useLedgerFile();

/** Transactions in the write-ahead log: frames that carry the database's size end one (SQLite file format, §4.1). */
function countCommits(): number {
  const wal = readFileSync(`${file.path}-wal`);
  const frameBytes = 24 + wal.readUInt32BE(8);
  let commits = 0;
  for (let at = 32; at + frameBytes <= wal.length; at += frameBytes) {
    const current = wal.subarray(at + 8, at + 16).equals(wal.subarray(16, 24));
    if (current && wal.readUInt32BE(at + 4) !== 0) commits += 1;
  }
  return commits;
}

describe("group commit", () => {
  test("changes made in one tick are one transaction", async () => {
    const ledger = await file.open();
    const asked = Array.from({ length: 100 }, () => request());
    await ledger.ping();
    const before = countCommits();
    const fences = await Promise.all(asked.map((each) => claimed(ledger, each)));
    await ledger.ping();
    expect(countCommits()).toBe(before + 2);
    await Promise.all(asked.map(({ id }, n) => ledger.beginSettle(id, fences[n] ?? 0, LEASE_MS)));
    expect(countCommits()).toBe(before + 3);
  });

  test("changes made while a commit is under way are the next transaction", async () => {
    const ledger = await file.open();
    await ledger.ping();
    const before = countCommits();
    const first = ledger.ping();
    const sent = new Promise((resolve) => setImmediate(resolve));
    const second = ledger.ping();
    await sent;
    const asked = Array.from({ length: 20 }, () => request());
    await Promise.all([first, second, ...asked.map((each) => claimed(ledger, each))]);
    await ledger.ping();
    expect(countCommits()).toBe(before + 3);
    for (const { id } of asked) expect(await ledger.payment(id)).toMatchObject({ id, state: "open" });
  });

  test("what comes while enough is under way goes as soon as that is committed, whoever else calls", async () => {
    const ledger = await file.open();
    const calls: Promise<void>[] = [];
    for (let batch = 0; batch < 4; batch++) {
      calls.push(ledger.ping());
      await nextBatch();
    }
    await Promise.all(calls);
  });

  test("a failing change rejects only itself", async () => {
    const ledger = await file.open();
    const [first, broken, last] = [request(), request({ payer: "broken" }), request()];
    file.meddle(`CREATE TRIGGER fault AFTER INSERT ON payment WHEN new.payer = 'broken'
      BEGIN SELECT raise(ABORT, 'injected'); END`);
    const outcomes = await Promise.allSettled([first, broken, last].map((each) => ledger.claim(each)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(outcomes[1]).toMatchObject({ reason: expect.any(LedgerFault) });
    expect(await ledger.payment(broken.id)).toBeUndefined();
    expect(await ledger.payment(last.id)).toMatchObject({ state: "open" });
    expect(file.fatal).toEqual([]);
  });

  test("a step that fails halfway leaves nothing of itself", async () => {
    const ledger = await file.open();
    const asked = request();
    const fence = await bring(ledger, asked, "settled");
    file.meddle("CREATE TRIGGER fault BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'injected'); END");
    await expect(ledger.credit(asked.id, fence, "x")).rejects.toBeInstanceOf(LedgerFault);
    expect(await ledger.payment(asked.id)).toMatchObject({ state: "settled" });
    expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(0n);
    file.meddle("DROP TRIGGER fault");
    expect(await ledger.credit(asked.id, fence, "x")).toBe("ok");
    expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
  });

  test("a transaction rolled back as a whole rejects all of it and stops nothing", async () => {
    const ledger = await file.open();
    const [first, broken] = [request(), request({ payer: "broken" })];
    file.meddle(`CREATE TRIGGER fault AFTER INSERT ON payment WHEN new.payer = 'broken'
      BEGIN SELECT raise(ROLLBACK, 'injected'); END`);
    const outcomes = await Promise.allSettled([first, broken].map((each) => ledger.claim(each)));
    const reason = expect.objectContaining({
      name: "LedgerFault",
      message: expect.stringContaining("injected"),
    });
    expect(outcomes).toEqual([
      { status: "rejected", reason },
      { status: "rejected", reason },
    ]);
    expect(await ledger.payment(first.id)).toBeUndefined();
    expect((await ledger.claim(first)).outcome).toBe("claimed");
    expect(file.fatal).toEqual([]);
  });

  test("of two batches under way the one that is rolled back rejects, and the one behind it is answered", async () => {
    const ledger = await file.open();
    const [behind, broken] = [request(), request({ payer: "broken" })];
    file.meddle(`CREATE TRIGGER fault AFTER INSERT ON payment WHEN new.payer = 'broken'
      BEGIN SELECT raise(ROLLBACK, 'injected'); END`);
    const rejected = expect(ledger.claim(broken)).rejects.toThrow("injected");
    await nextBatch();
    const answered = ledger.claim(behind);
    await rejected;
    expect((await answered).outcome).toBe("claimed");
    expect(await ledger.payment(broken.id)).toBeUndefined();
    expect(file.fatal).toEqual([]);
  });

  test("a database locked by another process rejects, and works again once it is free", async () => {
    const ledger = await file.open();
    const other = openLasting(file.path);
    other.exec("BEGIN IMMEDIATE");
    await expect(ledger.ping()).rejects.toThrow("locked");
    other.exec("ROLLBACK");
    other.close();
    await expect(ledger.ping()).resolves.toBeUndefined();
    expect(file.fatal).toEqual([]);
  });
});

describe("what stops the process", () => {
  test("a failing COMMIT rejects every change of its batch", async () => {
    const ledger = await file.open();
    const [settling, fresh, broken] = [request(), request(), request({ payer: "broken" })];
    const fence = await bring(ledger, settling, "open");
    const brokenFence = await bring(ledger, broken, "open");
    // A deferred constraint is checked by COMMIT, and fails it.
    file.meddle(`CREATE TABLE child (parent INTEGER REFERENCES payment (seq) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER fault AFTER UPDATE ON payment WHEN new.payer = 'broken'
      BEGIN INSERT INTO child VALUES (-1); END`);
    const outcomes = await Promise.allSettled([
      ledger.beginSettle(settling.id, fence, LEASE_MS),
      ledger.claim(fresh),
      ledger.beginSettle(broken.id, brokenFence, LEASE_MS),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(outcomes[0]).toMatchObject({ reason: expect.any(LedgerFault) });
    expect(file.fatal).toEqual([expect.any(LedgerFault)]);
    await expect(ledger.payment(settling.id)).rejects.toBeInstanceOf(LedgerFault);
    await ledger.close();
    file.meddle("DROP TRIGGER fault");
    expect(await (await file.open()).payment(settling.id)).toMatchObject({ state: "open" });
    expect(file.fatal).toHaveLength(1);
  });

  test("a failing COMMIT rejects the batch behind it, which changes nothing", async () => {
    const ledger = await file.open();
    const [settling, broken] = [request(), request({ payer: "broken" })];
    const fence = await bring(ledger, settling, "open");
    const brokenFence = await bring(ledger, broken, "open");
    file.meddle(`CREATE TABLE child (parent INTEGER REFERENCES payment (seq) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER fault AFTER UPDATE ON payment WHEN new.payer = 'broken'
      BEGIN INSERT INTO child VALUES (-1); END`);
    const first = ledger.beginSettle(broken.id, brokenFence, LEASE_MS);
    await nextBatch();
    const outcomes = await Promise.allSettled([first, ledger.beginSettle(settling.id, fence, LEASE_MS)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await ledger.close();
    file.meddle("DROP TRIGGER fault");
    expect(await (await file.open()).payment(settling.id)).toMatchObject({ state: "open" });
    expect(file.fatal).toHaveLength(1);
  });

  test("a log that cannot be synced rejects what must be durable; the others were told before", async () => {
    const ledger = await file.open();
    const asked = request();
    const fence = await claimed(ledger, asked);
    loseLog();
    const outcomes = await Promise.allSettled([
      ledger.beginSettle(asked.id, fence, LEASE_MS),
      ledger.claim(request()),
    ]);
    expect(outcomes).toMatchObject([
      { status: "rejected", reason: expect.any(LedgerFault) },
      { status: "fulfilled", value: { outcome: "claimed" } },
    ]);
    expect(file.fatal).toEqual([expect.objectContaining({ message: expect.stringContaining("EINVAL") })]);
    await expect(ledger.ping()).rejects.toBeInstanceOf(LedgerFault);
  });

  test("nobody is told of what a power cut could still undo: neither who reads it nor who is given an answer again", async () => {
    const before = await file.open();
    const buyer = await customer(before, 1_000n);
    await before.close();
    const ledger = await file.open();
    const idempotency = { hash: "h", fingerprint: "f" };
    const [reads, rests] = [request(), request()];
    const fence = await claimed(ledger, reads);
    const hold = await held(ledger, buyer, 100n, { idempotency });
    loseLog();
    const told = [
      ledger.beginSettle(reads.id, fence, LEASE_MS),
      ledger.capture(captures(hold, 60n, { idempotency, keep: keep("an answer") })),
      ledger.payment(reads.id),
      ledger.hold(asks(buyer, 100n, { idempotency })),
      ledger.claim(reads),
      // There is room, whatever becomes of the others.
      ledger.hold(asks(buyer, 100n)),
      ledger.claim(rests),
    ];
    await nextBatch();
    told.push(ledger.payment(reads.id));
    const outcomes = (await Promise.allSettled(told)).map(({ status }) => status);
    const [no, yes] = ["rejected", "fulfilled"];
    expect(outcomes).toEqual([no, no, no, no, no, yes, yes, no]);
  });

  test("what waits for a sync is rejected with what is carried out behind it", async () => {
    const ledger = await file.open();
    const [first, second] = [request(), request()];
    const fences = [await claimed(ledger, first), await claimed(ledger, second)];
    loseLog();
    const outcomes = [ledger.beginSettle(first.id, fences[0] ?? 0, LEASE_MS)];
    await nextBatch();
    outcomes.push(ledger.beginSettle(second.id, fences[1] ?? 0, LEASE_MS));
    expect((await Promise.allSettled(outcomes)).map(({ status }) => status)).toEqual([
      "rejected",
      "rejected",
    ]);
    expect(file.fatal).toHaveLength(1);
  });

  test("the end of the worker rejects everything pending and all later calls", async () => {
    const started = once(process, "worker");
    const ledger = await file.open();
    const [worker]: Worker[] = await started;
    const asked = request();
    const fence = await claimed(ledger, asked);
    const pending: Promise<unknown>[] = [ledger.beginSettle(asked.id, fence, LEASE_MS)];
    await nextBatch();
    pending.push(ledger.ping());
    await nextBatch();
    // Two are under way, so this one waits for its turn.
    pending.push(ledger.ping());
    const outcomes = Promise.allSettled(pending);
    await worker?.terminate();
    const rejected = { status: "rejected", reason: expect.any(LedgerFault) };
    expect((await outcomes).slice(1)).toEqual([rejected, rejected]);
    await expect(ledger.ping()).rejects.toBeInstanceOf(LedgerFault);
    expect(file.fatal).toEqual([expect.any(LedgerFault)]);
  });
});

describe("what must be durable", () => {
  test("is known to who comes behind it, and told when the log is synced", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n, { concurrency: 1 });
    const hold = await held(ledger, buyer, 100n);
    const told: string[] = [];
    const charge = ledger.capture(captures(hold, 60n)).then(() => told.push("charged"));
    // Admitted only if the call before it has ended: a key for one call at a time, and 940 are left.
    const next = ledger.hold(asks(buyer, 940n));
    expect(await next.finally(() => told.push("held"))).toMatchObject({ outcome: "held" });
    await charge;
    expect(told).toEqual(["held", "charged"]);
  });

  test("is carried out and told by a close", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    const charge = ledger.capture(captures(await held(ledger, buyer, 100n), 60n));
    await ledger.close();
    expect(await charge).toMatchObject({ charged: 60n });
    expect(file.read("SELECT balance FROM account")).toBe(940);
    expect(file.fatal).toEqual([]);
  });
});

/** Where the log was is something that cannot be synced (EINVAL). SQLite goes on writing to the file that it holds open. */
function loseLog(): void {
  rmSync(`${file.path}-wal`);
  symlinkSync("/dev/null", `${file.path}-wal`);
}

/** What has been asked for so far is on its way; what follows travels in another batch. */
async function nextBatch(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
