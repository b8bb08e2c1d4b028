import { resolve } from "node:path";
import { duration } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import { type ExportedFile, exportLedger } from "../export/export-ledger.ts";
import { EXPORT_FORMATS, type ExportFormat } from "../export/export-rows.ts";
import { EXPORT_KINDS, type ExportKind, USUAL_TRIM_AGE_MS } from "../ledger/export-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { hasLedger } from "../ledger/open-ledger.ts";
import type { Command, Invocation } from "./command.ts";
import { fail, print, printJson, table, USAGE_ERROR } from "./output.ts";
import { load, openStore } from "./store.ts";

const NOT_DONE = 1;
const PROGRESS_EVERY_MS = 5_000;

/** Moves what is finished out of the store. */
export const exportCommand: Command = {
  usage: "export --out DIR [--format jsonl|csv] [--trim-older-than 30d] [--trim-early] [--json]",
  summary:
    "Write journal, payments and usage to files, what is new since the last export; then trim what is old.",
  details: [
    "A file has its name once it is complete and on the disk; only then its records are marked as exported. What stops a run",
    "makes the next one write the same records again: export_id tells them apart. It may run beside the gateways.",
    "",
    "--trim-older-than deletes what was exported and is older, at least 7d; 1d with --trim-early. No balance changes by it.",
    "Exit codes: 0 done, also if nothing was new; 1 the store or the disk failed; 2 the command line or the configuration",
    "is wrong.",
  ],
  arity: [0, 0],
  flags: ["out", "format", "trim-older-than"],
  switches: ["trim-early"],
  async run(invocation) {
    const give = (code: string, message: string): void =>
      void fail(
        invocation.json ? JSON.stringify({ error: { code, message } }) : `farebox export: ${message}`,
      );
    const config = load(invocation);
    if (config === undefined) return USAGE_ERROR;
    let ledger: Ledger | undefined;
    try {
      const order = readOrder(invocation);
      if (!hasLedger(config)) throw invalid(`there is no ledger in ${config.dataDir}`);
      ledger = await openStore(config);
      return await carryOut(ledger, order, invocation.json);
    } catch (error) {
      if (error instanceof GatewayError) {
        give(error.code, error.message);
        return USAGE_ERROR;
      }
      give("not_exported", `could not go on: ${error instanceof Error ? error.message : String(error)}`);
      return NOT_DONE;
    } finally {
      await ledger?.close();
    }
  },
};

interface Order {
  readonly directory: string;
  readonly format: ExportFormat;
  readonly trimOlderThanMs: number | undefined;
}

function readOrder({ flags, switches }: Invocation): Order {
  const { out, format = "jsonl", "trim-older-than": age } = flags;
  if (out === undefined || out === "") throw invalid("--out is missing");
  const known = EXPORT_FORMATS.find((name) => name === format);
  if (known === undefined) throw invalid("--format: write jsonl or csv");
  const early = switches.has("trim-early");
  if (age === undefined && early) throw invalid("--trim-early goes with --trim-older-than");
  const read = age === undefined ? undefined : duration("1d", "3650d").safeParse(age);
  if (read?.success === false) {
    throw invalid(`--trim-older-than: ${read.error.issues[0]?.message ?? "write a duration"}`);
  }
  if (read !== undefined && read.data < USUAL_TRIM_AGE_MS && !early) {
    throw invalid("--trim-older-than: less than 7d needs --trim-early too");
  }
  return { directory: resolve(out), format: known, trimOlderThanMs: read?.data };
}

type Counts = Readonly<Record<ExportKind, number>>;

async function carryOut(ledger: Ledger, order: Order, json: boolean): Promise<number> {
  const { directory, format, trimOlderThanMs } = order;
  const files: ExportedFile[] = [];
  await exportLedger({
    ...{ ledger, directory, format, clock: Date.now, onProgress: progress() },
    onFile: (file) => {
      files.push(file);
      // Should a later one fail, this is known to be whole.
      if (!json) print(`${file.name}  ${file.records} records`);
    },
  });
  const trimmed = trimOlderThanMs === undefined ? undefined : await trim(ledger, trimOlderThanMs);
  if (json) return printJson({ directory, files, exported: countOf(files), trimmed: trimmed ?? null });
  if (files.length === 0) print("nothing is new");
  if (trimmed === undefined) return 0;
  return print(`\ntrimmed\n${table([trimmed], EXPORT_KINDS)}`);
}

/** The journal last: until then, what a key spent can be looked up in all of them. */
async function trim(ledger: Ledger, olderThanMs: number): Promise<Counts> {
  const usage = await ledger.trimExported("usage", olderThanMs);
  const payments = await ledger.trimExported("payments", olderThanMs);
  return { journal: await ledger.trimExported("journal", olderThanMs), payments, usage };
}

function countOf(files: readonly ExportedFile[]): Counts {
  const of = (kind: ExportKind) =>
    files.reduce((sum, file) => sum + (file.kind === kind ? file.records : 0), 0);
  return { journal: of("journal"), payments: of("payments"), usage: of("usage") };
}

/** Tells where a long run is, on stderr. */
function progress(): (kind: ExportKind, records: number) => void {
  let told = performance.now();
  return (kind, records) => {
    if (performance.now() - told < PROGRESS_EVERY_MS) return;
    told = performance.now();
    fail(`${kind}: ${records} records of this file written`);
  };
}

function invalid(message: string): GatewayError {
  return new GatewayError("invalid_request", { message });
}
