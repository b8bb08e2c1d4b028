import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ChaosResult } from "./run-chaos.ts";

/** Writes what everybody knew as JSON lines, one file each: to find out what became of a call that a violation names. */
export function writeLogs(directory: string, { evidence, books, faults }: ChaosResult): void {
  mkdirSync(directory, { recursive: true });
  const logs: Readonly<Record<string, readonly unknown[]>> = { ...evidence, faults, ...booksLogs(books) };
  for (const [name, lines] of Object.entries(logs)) {
    writeFileSync(join(directory, `${name}.jsonl`), lines.map((line) => `${toJson(line)}\n`).join(""));
  }
}

function booksLogs({ payments, accounts }: ChaosResult["books"]) {
  return { ledgerPayments: payments, ledgerAccounts: accounts };
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? part.toString() : part));
}
