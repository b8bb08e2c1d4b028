import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/** A file that is complete under its name, or not there. */
export interface ExportFile {
  readonly name: string;
  write(text: string): Promise<void>;
  /** Resolves when the file, under its name, survives a power cut. Rejects with the system's error. */
  finish(): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

/**
 * Begins a file under a temporary name (`.NAME.tmp`), readable by its owner only: written, synchronised, renamed, and the directory
 * synchronised. Rejects if either name is taken.
 */
export async function createExportFile(directory: string, name: string): Promise<ExportFile> {
  const path = join(directory, name);
  const temporary = join(directory, `.${name}.tmp`);
  const file = await open(temporary, "wx", 0o600);
  let finished = false;
  return {
    name,
    async write(text) {
      await file.writeFile(text);
    },
    async finish() {
      await file.sync();
      await file.close();
      await rename(temporary, path);
      await syncDirectory(directory);
      finished = true;
    },
    async discard() {
      if (finished) return;
      await file.close();
      await rm(temporary, { force: true });
    },
  };
}

async function syncDirectory(directory: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(directory, "r");
    await handle.sync();
  } finally {
    await handle?.close();
  }
}
