import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type MasterKey, masterKeys } from "./config-key-values.ts";
import { prepareDataDirectory } from "./data-directory.ts";

/**
 * A secret that local mode makes for itself, kept in the data directory: made once, so that what it opens or signs stays good over a
 * restart, and for every process on that directory.
 */
export function localSecret(dataDir: string, name: string): string {
  const path = join(dataDir, name);
  if (!existsSync(path)) {
    prepareDataDirectory(dataDir);
    write(path, randomBytes(32).toString("hex"));
  }
  return readFileSync(path, "utf8").trim();
}

/** The keys that a variable names, or local mode's own. */
export function orLocalKey(
  keys: readonly MasterKey[],
  dataDir: string,
  name: "session-key" | "master-key" | "receipt-key",
): readonly MasterKey[] {
  return keys.length > 0 ? keys : masterKeys().parse(localSecret(dataDir, name));
}

/** The command line may run while the gateway starts: whoever comes first makes it. */
function write(path: string, secret: string): void {
  try {
    writeFileSync(path, `${secret}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
