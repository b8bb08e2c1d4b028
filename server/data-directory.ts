import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Makes the data directory, for its owner alone, if there is none. Throws an Error that names it, and the setting, if nothing can be written there. */
export function prepareDataDirectory(path: string): void {
  try {
    makeDirectory(path);
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    const why = code === "EEXIST" || code === "ENOTDIR" ? "it is a file, or below one" : code;
    throw new Error(
      `The data directory ${path} cannot be used (${why}). Set FAREBOX_DATA_DIR to a directory that can be written.`,
      { cause },
    );
  }
}

/**
 * Makes a directory and those above it, each for its owner alone; one that is there stays as it is. Throws the system's error. Node 20's
 * `recursive` never ends below a directory in which nothing can be made (`/proc`).
 */
export function makeDirectory(path: string): void {
  if (isDirectory(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (cause) {
    // Another process may have made it meanwhile.
    if (!isDirectory(path)) throw cause;
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
