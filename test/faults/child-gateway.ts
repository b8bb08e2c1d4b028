import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Shop } from "../support/shop.ts";
import { openForBusiness } from "./audit.ts";

/** The program as it is shipped. */
export interface Build {
  readonly main: string;
  remove(): Promise<void>;
}

/** A gateway in its own process, on the shop's port and data. */
export interface ChildGateway {
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Resolves when it has ended by itself. */
  readonly gone: Promise<unknown>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

/** Compiles the program into a directory of its own. */
export async function buildProgram(): Promise<Build> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "farebox-build-")));
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
  const dist = join(directory, "dist");
  const options = [
    "-p",
    "tsconfig.build.json",
    "--outDir",
    dist,
    "--declaration",
    "false",
    "--sourceMap",
    "false",
  ];
  await run(join(ROOT, "node_modules/.bin/tsc"), options, { cwd: ROOT });
  return {
    main: join(dist, "server/main.js"),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Starts the program for a shop without a gateway; resolves when it sells. */
export async function startChild(
  shop: Shop,
  build: Build,
  yaml = "",
  more: Readonly<Record<string, string>> = {},
): Promise<ChildGateway> {
  const config = join(shop.dataDir, "farebox.yaml");
  await writeFile(config, shop.configText + yaml);
  const env = { ...shop.env, PATH: process.env["PATH"], FAREBOX_CONFIG: config, LOG_LEVEL: "error", ...more };
  const child = spawn(process.execPath, [build.main], { env, cwd: shop.dataDir, stdio: "inherit" });
  const kill = () => end(child);
  const gone = once(child, "exit");
  const tooEarly = gone.then(([code]) => {
    throw new Error(`the gateway ended with ${code}`);
  });
  tooEarly.catch(() => {});
  try {
    await Promise.race([openForBusiness(shop.url), tooEarly]);
  } catch (error) {
    await kill();
    throw error;
  }
  return { kill, gone };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
