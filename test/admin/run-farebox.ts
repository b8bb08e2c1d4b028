import { spawn } from "node:child_process";
import { expect } from "vitest";
import { built } from "../support/built.ts";

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `farebox` as its own process. */
export function runFarebox(
  args: readonly string[],
  options: {
    readonly cwd: string;
    readonly env: Readonly<Record<string, string>>;
    readonly stdin?: string;
    /** The most that a file may have, in blocks of 512 bytes. */
    readonly fileBlocks?: number;
  },
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const cli = built("server/cli.js");
    const { fileBlocks } = options;
    const node = [process.execPath, cli, ...args];
    const limit = `trap "" XFSZ; ulimit -f ${fileBlocks}; exec "$@"`;
    const [command = "", ...rest] = fileBlocks === undefined ? node : ["sh", "-c", limit, "sh", ...node];
    const child = spawn(command, rest, {
      cwd: options.cwd,
      env: { PATH: process.env["PATH"] ?? "", ...options.env },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(options.stdin ?? "");
  });
}

/** What a command that must succeed printed as JSON. */
export function jsonOf({ code, stdout, stderr }: Ran): Record<string, unknown> {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}
