import { expect, test } from "vitest";
import { csvCell } from "../../server/admin/usage-csv.ts";

test.each([
  ["=1+1", "'=1+1"],
  ["＝1+1", "'＝1+1"],
  [" ＠SUM(A1)", "' ＠SUM(A1)"],
  ["a;＋1", "a;'＋1"],
  ["a=1", "a=1"],
  ["a＝1", "a＝1"],
])("a cell that a spreadsheet would run is defused, also in wide signs: %s", (text, cell) => {
  expect(csvCell(text)).toBe(cell);
});
