#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { z } from "zod";
import { accountCommands } from "./cli/account-commands.ts";
import { check } from "./cli/check.ts";
import type { Command } from "./cli/command.ts";
import { exportCommand } from "./cli/export.ts";
import { keyCommands } from "./cli/key-commands.ts";
import { fail, heedLeavingReaders, misused, print } from "./cli/output.ts";
import { runCommand } from "./cli/run-command.ts";
import { serveCommand } from "./cli/serve.ts";
import { tokenCommands } from "./cli/token-commands.ts";

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: serveCommand,
  check,
  export: exportCommand,
  ...accountCommands,
  ...keyCommands,
  ...tokenCommands,
};

async function main(argv: readonly string[]): Promise<number> {
  const [first = "", second = ""] = argv;
  if (first === "--help" || first === "-h" || first === "help") return print(help(""));
  if (first === "--version" || first === "-v") return print(version());
  for (const [name, rest] of [
    [`${first} ${second}`, argv.slice(2)],
    [first, argv.slice(1)],
  ] as const) {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command !== undefined) return runCommand(name, command, rest);
  }
  const isGroup = Object.keys(COMMANDS).some((name) => name.startsWith(`${first} `));
  if (isGroup && (second === "--help" || second === "-h")) return print(help(first));
  const json = argv.includes("--json");
  if (isGroup) return misused(`farebox ${first}`, "say what to do", help(first), json);
  if (first === "") return fail(help(""));
  return misused("farebox", `there is no command "${first}"`, help(""), json);
}

/** Every command, or those of one group. */
function help(group: string): string {
  const shown = Object.entries(COMMANDS).filter(([name]) => group === "" || name.startsWith(`${group} `));
  const width = Math.max(...shown.map(([name]) => name.length));
  const lines = shown.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  const usage = `Usage: farebox ${group === "" ? "COMMAND" : `${group} COMMAND`}`;
  return [usage, "", ...lines, "", "  farebox COMMAND --help says more; --version"].join("\n");
}

/** The package's version; its manifest is one level up from the sources and two from the build. */
function version(): string {
  for (const place of ["../package.json", "../../package.json"]) {
    try {
      const manifest = readFileSync(new URL(place, import.meta.url), "utf8");
      return z.object({ version: z.string() }).parse(JSON.parse(manifest)).version;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  return "unknown";
}

heedLeavingReaders();
process.exitCode = await main(process.argv.slice(2));
