import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf } from "../admin/run-farebox.ts";
import { openStand, type Stand, trade } from "./stand.ts";

let stand: Stand;
beforeAll(async () => {
  stand = await openStand("SQLite");
  await trade(stand.ledger);
});
afterAll(() => stand.close());

test.each([
  [[], /--out is missing/],
  [["--out", "x", "--format", "xml"], /--format/],
  [["--out", "x", "--trim-older-than", "30"], /--trim-older-than: /],
  [["--out", "x", "--trim-older-than", "23h", "--trim-early"], /from 1d/],
  [["--out", "x", "--trim-older-than", "6d"], /--trim-early/],
  [["--out", "x", "--trim-early"], /--trim-older-than/],
])("%j is refused with exit code 2, and nothing is exported", async (args, message) => {
  const ran = await stand.farebox("export", ...args);
  expect(ran).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(message) });
  expect((await stand.ledger.unexported("journal", undefined, 10)).records).toHaveLength(4);
});

test("without a ledger there is nothing to export: exit code 2", async () => {
  const ran = await stand.farebox("export", "--out", "x", "--config", "none.yaml");
  expect(ran.code).toBe(2);
});

test("a directory that cannot be made is named: exit code 1", async () => {
  const ran = await stand.farebox("export", "--out", "/proc/none/below");
  expect(ran).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("/proc/none") });
});

test("a CSV has a head, defused labels, and amounts as they are", async () => {
  jsonOf(await stand.farebox("export", "--out", stand.out, "--format", "csv", "--json"));
  const text = (kind: string) => {
    const name = stand.files().find((file) => file.startsWith(kind)) ?? "";
    expect(statSync(join(stand.out, name)).mode & 0o077).toBe(0);
    return readFileSync(join(stand.out, name), "utf8");
  };
  const lines = (kind: string) => text(kind).trimEnd().split("\r\n");
  for (const [kind, count] of [
    ["journal", 4],
    ["payments", 3],
    ["usage", 2],
  ] as const) {
    const [head = "", ...rows] = lines(kind);
    expect(head).toMatch(/^export_id,/);
    expect(rows).toHaveLength(count);
    for (const row of rows) expect(row.split(",")).toHaveLength(head.split(",").length);
  }
  expect(text("usage").match(/,'=1\+1,/g)).toHaveLength(2);
  expect(text("journal")).toMatch(/,-0\.00003,-30,0\.00097,970\r\n/);
  expect(text("payments") + text("usage")).not.toMatch(/,[=+@-]/);
});
