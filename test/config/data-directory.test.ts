import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { prepareDataDirectory } from "../../server/data-directory.ts";
import { orLocalKey } from "../../server/local-secrets.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "farebox-data-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a data directory that is made is nobody else's to read: it says who paid for what", () => {
  const path = join(directory, "made", "for", "it");
  prepareDataDirectory(path);
  expect(modeOf(path)).toBe(0o700);
});

test("so is one that is made for a secret alone, as by a command whose ledger is in Redis", () => {
  const path = join(directory, "for-secrets");
  orLocalKey([], path, "master-key");
  expect(modeOf(path)).toBe(0o700);
});

test("one that is there keeps the mode that its owner gave it", () => {
  chmodSync(directory, 0o750);
  prepareDataDirectory(directory);
  expect(modeOf(directory)).toBe(0o750);
});
