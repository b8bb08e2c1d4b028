import { accessSync, constants, mkdirSync } from "node:fs";

/** Makes the data directory, for its owner alone, if there is none. Throws an Error that names it, and the setting, if nothing can be written there. */
export function prepareDataDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
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
