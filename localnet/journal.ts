import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { z } from "zod";

const heightAt = { height: z.int().nonnegative(), at: z.int().nonnegative() };

const entry = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("genesis"),
    version: z.literal(1),
    /** Of the blockhashes, hex. */
    seed: z.string().regex(/^[0-9a-f]{64}$/),
    faucet: z.string(),
    feePayer: z.string(),
  }),
  /** The chain was opened: how fast it went from there on. */
  z.strictObject({ kind: z.literal("open"), ...heightAt, slotMs: z.number().nonnegative() }),
  /** A warp, or a close. */
  z.strictObject({ kind: z.literal("height"), ...heightAt }),
  z.strictObject({ kind: z.literal("transaction"), ...heightAt, wire: z.base64() }),
]);

/** One line of the log; `at` is milliseconds since 1970. */
export type JournalEntry = z.infer<typeof entry>;

/** The append-only log of everything that changed the chain. Each line is with the operating system when `append` returns. */
export interface Journal {
  /** What an earlier run left, in order. */
  readonly entries: readonly JournalEntry[];
  append(entry: JournalEntry): void;
  close(): void;
}

/**
 * Opens the log, or keeps none without a path. A last line that a crash cut short is dropped, from the file too.
 * Throws Error naming the line if another one is damaged.
 */
export function openJournal(path: string | undefined): Journal {
  if (path === undefined) return { entries: [], append: () => undefined, close: () => undefined };
  const entries = existsSync(path) ? readEntries(path) : [];
  const file = openSync(path, "a", 0o600);
  return {
    entries,
    append: (line) => {
      writeSync(file, `${JSON.stringify(line)}\n`);
    },
    close: () => closeSync(file),
  };
}

function readEntries(path: string): readonly JournalEntry[] {
  const bytes = readFileSync(path);
  const whole = bytes.lastIndexOf("\n") + 1;
  if (whole < bytes.length) truncateSync(path, whole);
  const lines = bytes.subarray(0, whole).toString("utf8").split("\n").slice(0, -1);
  return lines.map((line, index) => {
    try {
      return entry.parse(JSON.parse(line));
    } catch (cause) {
      throw new Error(`${path}, line ${index + 1} is damaged; remove the directory to begin a new chain.`, {
        cause,
      });
    }
  });
}
