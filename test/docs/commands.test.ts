import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { runFarebox } from "../admin/run-farebox.ts";

const page = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
const [, table = ""] = page.split("| command | |\n");
const rows = (table.split("\n\n")[0] ?? "").split("\n").map((row) => row.split("|")[1] ?? "");

test("docs/configuration.md lists every command", async () => {
  const { stdout } = await runFarebox(["--help"], { cwd: tmpdir(), env: {} });
  const names = [...stdout.matchAll(/^ {2}([a-z-]+(?: [a-z-]+)?) {2,}/gm)].map(([, name = ""]) => name);
  expect(names).toContain("serve");
  const missing = names.filter((name) => {
    const [first = "", second] = name.split(" ");
    const listed = rows.filter((row) => row.includes(`\`${first}`));
    return !listed.some(
      (row) => second === undefined || row.includes(`${first} ${second}`) || row.includes(`\`${second}`),
    );
  });
  expect(missing).toEqual([]);
});
