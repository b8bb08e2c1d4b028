import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A program that tests need and npm does not have. */
export interface DebianProgram {
  /** Names it may have on the PATH, best first. */
  readonly names: readonly [string, ...string[]];
  readonly package: string;
  /** Ends "… need". */
  readonly neededBy: string;
}

/** Its path: on the PATH, or installed from Debian's packages where that is allowed. Throws and says what to do. */
export function findProgram(program: DebianProgram): string {
  const found = onPath(program);
  if (found !== undefined) return found;
  const [name] = program.names;
  try {
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", program.package], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  } catch (cause) {
    throw new Error(
      `${program.neededBy} need \`${name}\` on the PATH. On Debian: sudo apt-get install ${program.package}`,
      { cause },
    );
  }
  const installed = onPath(program);
  if (installed === undefined) throw new Error(`${name} was installed, but is not on the PATH.`);
  return installed;
}

function onPath({ names }: DebianProgram): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
