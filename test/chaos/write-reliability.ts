import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../../docs/reliability.md", import.meta.url));
const BEGIN = "<!-- numbers: npm run chaos -- --write -->";
const END = "<!-- end of numbers -->";

/** Puts the numbers between the two marks of docs/reliability.md. Throws if a mark is missing. */
export function writeReliability(numbers: string): void {
  const text = readFileSync(PAGE, "utf8");
  const [start, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (start === -1 || end < start) throw new Error("docs/reliability.md has lost its marks.");
  writeFileSync(PAGE, `${text.slice(0, start + BEGIN.length)}\n\n${numbers.trim()}\n\n${text.slice(end)}`);
}
