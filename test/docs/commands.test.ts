import { readdirSync, readFileSync } from "node:fs";
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

const root = new URL("../../", import.meta.url);
const pages = ["README.md", ...readdirSync(new URL("docs", root)).filter((name) => name.endsWith(".md"))];

// An interactive zsh, macOS' own, knows no comments: `npm start # …` is a wrong command line there.
test.each(pages)("commands of %s can be pasted: they have no comments", (name) => {
  const text = readFileSync(new URL(name === "README.md" ? name : `docs/${name}`, root), "utf8");
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  const commented = blocks.flatMap((block) => block.split("\n")).filter((line) => /(?:^|\s)#\s/.test(line));
  expect(commented).toEqual([]);
});
