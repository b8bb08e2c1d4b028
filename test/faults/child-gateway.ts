import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import type { Shop } from "../support/shop.ts";
import { openForBusiness } from "./audit.ts";

/** A gateway in its own process, on the shop's port and data. */
export interface ChildGateway {
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Resolves when it has ended by itself. */
  readonly gone: Promise<unknown>;
}

/** Starts the program for a shop without a gateway; resolves when it sells. */
export async function startChild(
  shop: Shop,
  yaml = "",
  more: Readonly<Record<string, string>> = {},
): Promise<ChildGateway> {
  const config = join(shop.dataDir, "farebox.yaml");
  await writeFile(config, shop.configText + yaml);
  const env = { ...shop.env, PATH: process.env["PATH"], FAREBOX_CONFIG: config, LOG_LEVEL: "error", ...more };
  const child = spawn(process.execPath, [inject("main")], { env, cwd: shop.dataDir, stdio: "inherit" });
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
