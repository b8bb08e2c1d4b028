import { GatewayError } from "../errors.ts";

/** Exit codes: 0 done, 1 refused or failed, 2 the command line or the configuration is wrong. */
export const USAGE_ERROR = 2;
const REFUSED = 1;

/** Whoever reads a part of what is printed and leaves (`| head`) has seen enough: no error of ours. */
export function heedLeavingReaders(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

/** A line on stdout; exit code 0. */
export function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

/** A line on stderr beside a result, for people. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A line on stderr; exit code 2. */
export function fail(text: string): number {
  process.stderr.write(`${text}\n`);
  return USAGE_ERROR;
}

/** A command line that is wrong, on stderr: people are shown how it is used, programs why alone; exit code 2. */
export function misused(name: string, message: string, usage: string, json: boolean): number {
  if (json) return fail(JSON.stringify({ error: { code: "invalid_request", message } }));
  return fail(`${name}: ${message}\n\n${usage}`);
}

/** What a command did not expect, on stderr; exit code 1. */
export function failed(error: unknown, json = false): number {
  const message = error instanceof Error ? error.message : String(error);
  fail(json ? JSON.stringify({ error: { code: "internal_error", message } }) : `farebox: ${message}`);
  return REFUSED;
}

/** A result, for programs. */
export function printJson(value: object): number {
  return print(JSON.stringify(value, null, 2));
}

/** Says why a command was refused, on stderr. Errors that are none of ours are thrown on. */
export function refuse(name: string, cause: unknown, json: boolean): number {
  if (!(cause instanceof GatewayError)) throw cause;
  const { code, message } = cause;
  fail(json ? JSON.stringify({ error: { code, message } }) : `farebox ${name}: ${message}`);
  return code === "invalid_request" ? USAGE_ERROR : REFUSED;
}

/** One record, a field a line; amounts in dollars only. */
export function fields(record: Readonly<Record<string, unknown>>): string {
  const shown = Object.entries(record).filter(([name]) => !name.endsWith("_micro_usd"));
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${cell(value)}`).join("\n");
}

/** Records as a table of these fields. */
export function table(records: unknown, columns: readonly string[]): string {
  const rows = Array.isArray(records) ? records.map((record: unknown) => columns.map(picker(record))) : [];
  if (rows.length === 0) return "none";
  const all = [columns, ...rows];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => (row[index] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function picker(record: unknown): (column: string) => string {
  const values = new Map(Object.entries(record ?? {}));
  return (column) => cell(values.get(column));
}

function cell(value: unknown): string {
  if (value === null || value === undefined || value === "") return "-";
  return Array.isArray(value) ? value.join(",") : String(value);
}
