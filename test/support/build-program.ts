import { execFile } from "node:child_process";
import { cp, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The program as it is shipped. */
export interface Build {
  readonly main: string;
  remove(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

/** Compiles the program into a directory of its own. */
export async function buildProgram(): Promise<Build> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "farebox-build-")));
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  await cp(join(ROOT, "package.json"), join(directory, "package.json"));
  const dist = join(directory, "dist");
  const options = [
    "-p",
    "tsconfig.build.json",
    // `npm run check` knows the types.
    "--noCheck",
    "--outDir",
    dist,
    "--declaration",
    "false",
    "--sourceMap",
    "false",
  ];
  const vite = join(ROOT, "node_modules/.bin/vite");
  const bundle = ["build", "-c", "bundle.config.ts", "--outDir", dist];
  const page = ["build", "-c", "console/vite.config.ts", "--outDir", join(dist, "console"), "--emptyOutDir"];
  await Promise.all([
    run(join(ROOT, "node_modules/.bin/tsc"), options, { cwd: ROOT }),
    run(vite, page, { cwd: ROOT }),
  ]);
  // Replaces some of what the compiler has written.
  await run(vite, bundle, { cwd: ROOT });
  const scripts = "server/ledger/scripts";
  await cp(join(ROOT, scripts), join(dist, scripts), { recursive: true });
  return {
    main: join(dist, "server/main.js"),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
