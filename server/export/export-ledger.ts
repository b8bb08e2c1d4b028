import { randomBytes } from "node:crypto";
import { makeDirectory } from "../data-directory.ts";
import { EXPORT_KINDS, type ExportKind, type ExportLedger } from "../ledger/export-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { createExportFile, type ExportFile } from "./export-file.ts";
import { type ExportFormat, headOf, lineOf } from "./export-rows.ts";

/** Records read at a time. */
const PAGE = 1_000;
/** Records of one file: their marks are in memory until it is finished. */
const PER_FILE = 100_000;

export interface ExportOptions {
  readonly ledger: ExportLedger & Pick<Ledger, "ping">;
  /** Made if missing. */
  readonly directory: string;
  readonly format: ExportFormat;
  /** ms since 1970. */
  readonly clock: () => number;
  readonly recordsPerFile?: number | undefined;
  /** Called after each page. */
  readonly onProgress: (kind: ExportKind, records: number) => void;
  /** Called for each file once it is complete and marked. */
  readonly onFile: (file: ExportedFile) => void;
}

export interface ExportedFile {
  readonly kind: ExportKind;
  readonly name: string;
  readonly records: number;
}

/**
 * Writes what was not exported yet, a file (or several) for each kind that has anything new, and marks it as exported.
 *
 * A page is read and written; the finished file is synchronised and renamed; only then is it marked. Whatever stops it in between,
 * the next run writes the same records again: none is lost, and `export_id` tells the second from the first. So do two runs at once.
 * Rejects with the system's error or `LedgerFault`; files that were told to `onFile` are complete.
 */
export async function exportLedger(options: ExportOptions): Promise<void> {
  makeDirectory(options.directory);
  const time = new Date(options.clock()).toISOString().replaceAll(/[-:.]/g, "");
  // Two runs may begin in the same millisecond.
  const stamp = `${time}-${randomBytes(3).toString("hex")}`;
  for (const kind of EXPORT_KINDS) await exportKind(options, kind, stamp);
}

async function exportKind(options: ExportOptions, kind: ExportKind, stamp: string): Promise<void> {
  let after: string | undefined;
  let part = 1;
  do {
    const name = `${kind}-${stamp}${part === 1 ? "" : `-${part}`}.${options.format}`;
    const { next, hasRecords } = await exportPart(options, kind, name, after);
    after = next;
    if (hasRecords) part += 1;
  } while (after !== undefined);
}

interface Part {
  readonly next: string | undefined;
  readonly hasRecords: boolean;
}

async function exportPart(
  options: ExportOptions,
  kind: ExportKind,
  name: string,
  from: string | undefined,
): Promise<Part> {
  const { ledger, format, directory, recordsPerFile = PER_FILE } = options;
  const marks: string[] = [];
  let file: ExportFile | undefined;
  let records = 0;
  let after = from;
  try {
    do {
      const page = await ledger.unexported(kind, after, PAGE);
      if (page.records.length > 0) {
        file ??= await begin(directory, name, headOf(kind, format));
        await file.write(page.records.map((record) => lineOf(record, format)).join(""));
        records += page.records.length;
        marks.push(...page.marks);
        options.onProgress(kind, records);
      }
      after = page.next;
    } while (after !== undefined && records < recordsPerFile);
    // Makes what was read durable. A power cut could take a usage record back that is in the file, and its number be another's then.
    await ledger.ping();
    await file?.finish();
  } catch (error) {
    await file?.discard();
    throw error;
  }
  if (file === undefined) return { next: after, hasRecords: false };
  await ledger.markExported(kind, marks);
  options.onFile({ kind, name, records });
  return { next: after, hasRecords: true };
}

async function begin(directory: string, name: string, head: string): Promise<ExportFile> {
  const file = await createExportFile(directory, name);
  if (head !== "") await file.write(head);
  return file;
}
