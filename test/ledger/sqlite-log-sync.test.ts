import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { createLogSync, type LogSync } from "../../server/ledger/sqlite-log-sync.ts";
import type { Answer, FromWorker } from "../../server/ledger/sqlite-messages.ts";

let posted: FromWorker[];
let failures: number;
beforeEach(() => {
  posted = [];
  failures = 0;
});

function open(log: string): LogSync {
  const sync = createLogSync({
    log,
    post: (message) => posted.push(message),
    onFailure: () => {
      failures += 1;
    },
  });
  onTestFinished(() => sync.close());
  return sync;
}

function someLog(): string {
  const directory = mkdtempSync(join(tmpdir(), "farebox-log-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const log = join(directory, "log");
  writeFileSync(log, "committed");
  return log;
}

const answersTo = (name: string): readonly Answer[] => [[0, "value", name]];

test("nothing is told before the log is synced, and what came meanwhile waits for the next sync", async () => {
  const sync = open(someLog());
  for (const name of ["first", "second", "third"]) sync.cover(answersTo(name));
  expect(posted).toEqual([]);
  await expect.poll(() => posted.length).toBe(2);
  expect(posted).toEqual([
    { kind: "synced", answers: [answersTo("first")] },
    { kind: "synced", answers: [answersTo("second"), answersTo("third")] },
  ]);
  sync.cover(answersTo("fourth"));
  await expect.poll(() => posted[2]).toEqual({ kind: "synced", answers: [answersTo("fourth")] });
  expect(failures).toBe(0);
});

const BROKEN = [
  { name: "cannot be synced", log: () => "/dev/null", says: "EINVAL" },
  { name: "is not there", log: () => `${someLog()}-gone`, says: "ENOENT" },
];

for (const { name, log, says } of BROKEN) {
  test(`a log that ${name} fails once, for good, and nothing is told`, async () => {
    const sync = open(log());
    for (const each of ["first", "second"]) sync.cover(answersTo(each));
    await expect.poll(() => failures).toBeGreaterThan(0);
    await wait(20);
    sync.cover(answersTo("third"));
    await wait(20);
    expect(posted).toEqual([{ kind: "failed", message: expect.stringContaining(says), fatal: true }]);
    expect(failures).toBe(1);
  });
}
