import { parseArgs } from "node:util";

/** What a command was called with, parsed. */
export interface Invocation {
  readonly positionals: readonly string[];
  /** The flags that were given, without their dashes. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  /** `--config FILE`; undefined: FAREBOX_CONFIG, or farebox.yaml if there is one. */
  readonly configPath: string | undefined;
  /** `--config` stands there, with or without a file. */
  readonly configNamed: boolean;
  readonly json: boolean;
  readonly csv: boolean;
  /** The switches that were given, without their dashes. */
  readonly switches: ReadonlySet<string>;
}

/** One command of `farebox`. */
export interface Command {
  readonly usage: string;
  readonly summary: string;
  /** Lines for `--help`, below the summary. */
  readonly details?: readonly string[];
  /** How many arguments it wants, at least and at most. */
  readonly arity: readonly [least: number, most: number];
  /** Its flags besides `--config`, `--json` and `--help`; each takes a value. */
  readonly flags: readonly string[];
  /** Its flags that take no value. */
  readonly switches?: readonly string[];
  /** Also takes `--csv`. */
  readonly csv?: boolean;
  /** Resolves to the exit code. */
  readonly run: (invocation: Invocation) => Promise<number>;
}

/** What was asked for; undefined: help. A text says what is wrong, and repeats no argument but flags' names. */
export function parseInvocation(command: Command, argv: readonly string[]): Invocation | string | undefined {
  // `--config` alone is `check`'s dry run of the default file; parseArgs knows no optional values.
  const args = argv.map((arg, index) =>
    arg === "--config" && (argv[index + 1] ?? "-").startsWith("-") ? "--config=" : arg,
  );
  const [least, most] = command.arity;
  const { switches = [] } = command;
  if (most > 0 && args.some((arg, index) => isNegative(arg) && !args[index - 1]?.startsWith("--"))) {
    return "the amount must be positive";
  }
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: most > 0,
      options: {
        ...Object.fromEntries(command.flags.map((flag) => [flag, { type: "string" as const }])),
        ...Object.fromEntries(switches.map((name) => [name, { type: "boolean" as const }])),
        ...(command.csv === true ? { csv: { type: "boolean" as const } } : {}),
        config: { type: "string" as const },
        json: { type: "boolean" as const },
        help: { type: "boolean" as const, short: "h" },
      },
    });
    if (values["help"] === true) return undefined;
    // What stands in excess may be a secret, so it is not repeated.
    if (positionals.length > most) return "too many arguments";
    if (positionals.length < least) return "an argument is missing";
    const { config } = values;
    const given = new Map<string, unknown>(Object.entries(values));
    return {
      positionals,
      flags: Object.fromEntries(command.flags.map((flag) => [flag, textOf(given.get(flag))])),
      configPath: typeof config === "string" && config !== "" ? config : undefined,
      configNamed: config !== undefined,
      json: values["json"] === true,
      csv: values["csv"] === true,
      switches: new Set(switches.filter((name) => given.get(name) === true)),
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** An option to parseArgs, and an amount to whoever wrote it. */
function isNegative(arg: string): boolean {
  return /^-\$?\.?\d/.test(arg);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
