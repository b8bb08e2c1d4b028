#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { z } from "zod";
import type { Config } from "./config.ts";
import { loadConfig } from "./load-config.ts";
import { formatUsd } from "./money.ts";

/** Exit codes: 0 done, 1 something failed, 2 the command line or the configuration is wrong. */
const USAGE_ERROR = 2;

interface Arguments {
  /** `--config FILE`; undefined: FAREBOX_CONFIG, or farebox.yaml if there is one. */
  readonly configPath: string | undefined;
  readonly json: boolean;
}

interface Command {
  readonly usage: string;
  readonly summary: string;
  /** Resolves to the exit code. */
  readonly run: (args: Arguments) => Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    usage: "serve [--config FILE]",
    summary: "Start the gateway.",
    run: async ({ configPath }) => {
      const config = load({ configPath, json: false });
      if (config === undefined) return USAGE_ERROR;
      const { serve } = await import("./main.ts");
      await serve(config);
      return 0;
    },
  },
  check: {
    usage: "check [--config [FILE]] [--json]",
    summary: "Read the configuration, say what is wrong with it or what it sells, and start nothing.",
    run: async (args) => {
      const config = load(args);
      if (config === undefined) return USAGE_ERROR;
      print(args.json ? JSON.stringify({ ok: true, ...summary(config) }, null, 2) : describe(config));
      return 0;
    },
  },
};

async function main(argv: readonly string[]): Promise<number> {
  const [name = "", ...rest] = argv;
  if (name === "--help" || name === "-h" || name === "help") return print(help());
  if (name === "--version" || name === "-v") return print(version());
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    return fail(name === "" ? help() : `farebox: there is no command "${name}"\n\n${help()}`);
  }
  const args = parse(rest);
  if (typeof args === "string") return fail(`farebox ${name}: ${args}\n\nUsage: farebox ${command.usage}`);
  return args === undefined
    ? print(`Usage: farebox ${command.usage}\n\n${command.summary}`)
    : command.run(args);
}

/** The arguments; undefined if help is asked for; a text that says what is wrong. */
function parse(argv: readonly string[]): Arguments | string | undefined {
  // `--config` alone is `check`'s dry run of the default file; parseArgs knows no optional values.
  const args = argv.map((arg, index) =>
    arg === "--config" && (argv[index + 1] ?? "-").startsWith("-") ? "--config=" : arg,
  );
  try {
    const { values } = parseArgs({
      args,
      options: {
        config: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return undefined;
    return { configPath: values.config === "" ? undefined : values.config, json: values.json };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The configuration, or undefined after its problems were printed. */
function load({ configPath, json }: Arguments): Config | undefined {
  const result = loadConfig({ env: process.env, cwd: process.cwd(), configPath });
  if ("config" in result) return result.config;
  if (json) print(JSON.stringify({ ok: false, problems: result.problems }, null, 2));
  else for (const { path, message } of result.problems) fail(`${path}: ${message}`);
  return undefined;
}

/** What a configuration sells. Holds no secret: an RPC URL may contain a key, so it is not in it. */
function summary(config: Config) {
  return {
    network: config.network,
    publicUrl: config.publicUrl,
    payTo: config.payTo ?? null,
    facilitator: config.facilitator ?? null,
    models: config.models.map(({ name }) => name),
    routes: config.routes.map(({ method, path, price, tiers, settle }) => ({
      method,
      path,
      price: formatUsd(price),
      tiers,
      settle,
    })),
  };
}

function describe(config: Config): string {
  const { routes, models, ...rest } = summary(config);
  const width = Math.max(...routes.map(({ method, path }) => method.length + path.length + 1));
  return [
    `network      ${rest.network}${config.network === "local" ? " (no real money moves)" : ""}`,
    `public URL   ${rest.publicUrl}`,
    `paid to      ${rest.payTo ?? "a wallet made in the data directory"}`,
    `facilitator  ${rest.facilitator ?? "the embedded one"}`,
    `models       ${models.join(", ") || "none"}`,
    "",
    ...routes.map(
      (route) =>
        `${`${route.method} ${route.path}`.padEnd(width)}  $${route.price}  ${route.tiers.join(", ")}`,
    ),
  ].join("\n");
}

function help(): string {
  const width = Math.max(...Object.values(COMMANDS).map(({ usage }) => usage.length));
  const lines = Object.values(COMMANDS).map(({ usage, summary }) => `  ${usage.padEnd(width)}  ${summary}`);
  return ["Usage: farebox COMMAND", "", ...lines, "", "  --help, --version"].join("\n");
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

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

function fail(text: string): number {
  process.stderr.write(`${text}\n`);
  return USAGE_ERROR;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  fail(`farebox: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
