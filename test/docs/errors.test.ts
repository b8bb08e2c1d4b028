import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERRORS } from "../../server/errors.ts";

const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| `") && line.split("|").length === 7);
const documented = rows.map((row) => {
  const [, code = "", status = "", type = "", message = ""] = row.split("|").map((cell) => cell.trim());
  return { code: code.replaceAll("`", ""), status: Number(status), type, message };
});

test("docs/errors.md lists every code with its status, type and message, and no other", () => {
  const table = Object.entries(ERRORS).map(([code, { status, type, message }]) => ({
    code,
    status,
    type,
    message,
  }));
  expect(documented).toEqual(table);
});
