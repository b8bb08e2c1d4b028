import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { accountCommands } from "../../server/cli/account-commands.ts";
import { keyCommands } from "../../server/cli/key-commands.ts";
import { tokenCommands } from "../../server/cli/token-commands.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const documents = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", ...documents.map((name) => join("docs", name))];

const COMMAND_NAMES = [
  "serve",
  "check",
  "export",
  ...Object.keys({ ...accountCommands, ...keyCommands, ...tokenCommands }),
];

function read(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** As GitHub makes them of headings. */
function anchorsOf(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe.each(pages)("%s", (page) => {
  test("links only to files and headings that are there", () => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
    const broken = links.flatMap(([link, path = "", anchor]) => {
      const target = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(root, target))) return [link];
      return anchor === undefined || anchorsOf(read(target)).includes(anchor) ? [] : [link];
    });
    expect(broken).toEqual([]);
  });
});

test.each(["docs/architecture.md", "docs/security.md"])("%s names only files that are there", (page) => {
  const named = new Set(read(page).match(/(?<![\w/-])[\w-]+(?:\/[\w-]+)*\.ts\b/g) ?? []);
  expect(named.size).toBeGreaterThan(5);
  const missing = [...named].filter(
    (path) => !existsSync(join(root, path)) && !existsSync(join(root, "server", path)),
  );
  expect(missing).toEqual([]);
});

test.each(["README.md", "docs/operations.md", "docs/keys.md"])(
  "%s names only commands that there are",
  (page) => {
    const asked = [
      ...read(page).matchAll(
        /(?:^|[`(])(?:npm run (?:--silent )?)?farebox (?:-- )?([a-z][a-z-]*)(?: ([a-z][a-z-]*))?/gm,
      ),
    ];
    const unknown = asked
      .map(([, first = "", second = ""]) => [first, `${first} ${second}`])
      .filter((names) => !names.some((name) => COMMAND_NAMES.includes(name)));
    expect(unknown).toEqual([]);
  },
);

test("docs/dependencies.md lists every package of package.json under its heading, and no other", () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(read("package.json"));
  const listed = (heading: string): readonly (string | undefined)[] => {
    const [, section = ""] = read("docs/dependencies.md").split(`## ${heading}\n`);
    return [...(section.split("\n## ")[0] ?? "").matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  };
  expect(listed("At run time")).toEqual(Object.keys(dependencies));
  expect(listed("Optional")).toEqual(Object.keys(optionalDependencies));
  expect(listed("In development")).toEqual(Object.keys(devDependencies));
});
