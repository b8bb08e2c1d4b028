import { z } from "zod";
import { type ConfigInput, configSchema } from "./config-schema.ts";

/** One thing that is wrong with the configuration. `path` is the variable's name or the place in the YAML file. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

export type Path = readonly PropertyKey[];

/** Collects problems, each once. */
export interface Problems {
  add(path: Path | string, message: string): void;
  /** True if a problem was reported at this path, above it or below it. */
  touches(path: Path | string): boolean;
  readonly list: readonly Problem[];
}

export function createProblems(): Problems {
  const list: Problem[] = [];
  const inside = (outer: string, inner: string) =>
    inner === outer || inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`);
  return {
    list,
    add(path, message) {
      const at = formatPath(path);
      const known = list.some((problem) => problem.path === at && problem.message === message);
      if (!known) list.push({ path: at, message });
    },
    touches(path) {
      const at = formatPath(path);
      return list.some((problem) => inside(problem.path, at) || inside(at, problem.path));
    },
  };
}

/** `["models", "openai/gpt", "upstream"]` -> `models["openai/gpt"].upstream`. */
function formatPath(path: Path | string): string {
  if (typeof path === "string") return path;
  const parts = path.map((key) => {
    if (typeof key === "number") return `[${key}]`;
    const name = String(key);
    return /^[A-Za-z_][\w-]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
  });
  return parts.join("").replace(/^\./, "");
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A copy of the tree without the node at `path`; a node that is not there leaves the tree as it is. */
function without(tree: unknown, path: Path): unknown {
  const [key, ...rest] = path;
  if (key === undefined || !isRecord(tree)) return tree;
  const entries = Object.entries(tree);
  const kept = rest.length === 0 ? entries.filter(([name]) => name !== key) : entries;
  return Object.fromEntries(kept.map(([name, value]) => [name, name === key ? without(value, rest) : value]));
}

/** The tree with `value` at `path`, whose parent is there. */
function withValue(tree: unknown, path: Path, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  return isRecord(tree) ? { ...tree, [key]: withValue(tree[String(key)], rest, value) } : tree;
}

/**
 * Parses with the one schema. What is wrong is reported, taken out, and the rest parsed again, so that the rules
 * between values still see everything that is right: an operator gets one list, not one list after another.
 */
export function parseInput(env: unknown, file: unknown, problems: Problems): ConfigInput {
  let tree: unknown = { env, file };
  for (;;) {
    const parsed = configSchema.safeParse(tree);
    if (parsed.success) return parsed.data;
    const refused = tree;
    for (const issue of parsed.error.issues) {
      report(refused, issue, problems);
      const standIn = standInAt(issue.path);
      if (standIn !== undefined) tree = withValue(tree, issue.path, standIn);
      else for (const path of culprits(refused, issue)) tree = without(tree, path);
    }
    if (!isRecord(tree) || !("file" in tree)) tree = { env, file: {} };
  }
}

/** Reports what a schema refuses of options that a program passed, in the words of {@link parseInput}. */
export function checkOptions(schema: z.ZodType, options: unknown, problems: Problems): void {
  for (const issue of schema.safeParse(options).error?.issues ?? []) {
    const { path } = issue;
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) problems.add([...path, key], unknownSetting(key, keysAt(schema, path)));
    } else if (path.length === 0) {
      problems.add("(options)", "must be an object of settings");
    } else {
      const isThere = exists(options, path) && valueAt(options, path) !== undefined;
      problems.add(path, isThere ? issue.message : "is missing");
    }
  }
}

/** Throws one Error that lists them; nothing is thrown where there are none. */
export function throwProblems(where: string, problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const list = problems.map(({ path, message }) => `  ${path}: ${message}`).join("\n");
  throw new Error(`${where}: the options are not usable\n${list}`);
}

function report(tree: unknown, issue: z.core.$ZodIssue, problems: Problems): void {
  const path = issue.path.slice(1);
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) problems.add([...path, key], unknownKey(key, issue.path));
  } else if (path.length === 0) {
    problems.add("(file)", "must be a mapping of settings");
  } else if (exists(tree, issue.path)) {
    problems.add(
      path,
      issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message,
    );
  } else if (!problems.touches(path)) {
    problems.add(path, "is missing");
  }
}

/** What stands in a required setting's place when it is wrong or missing, so that what surrounds it need not go with it: `standIn` of its schema. */
function standInAt(path: Path): unknown {
  const schema = schemaAt(configSchema, path);
  return schema instanceof z.ZodType ? schema.meta()?.["standIn"] : undefined;
}

/** What must go for the rest to be right. A missing value takes its parent along, a wrong item its whole list. */
function culprits(tree: unknown, issue: z.core.$ZodIssue): readonly Path[] {
  const item = issue.path.findIndex((key) => typeof key === "number");
  if (item !== -1) return [issue.path.slice(0, item)];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => [...issue.path, key]);
  return [nearest(tree, issue.path)];
}

function exists(tree: unknown, path: Path): boolean {
  return path.length === 0 || nearest(tree, path).length === path.length;
}

/** The longest part of the path that is there. */
function nearest(tree: unknown, path: Path): Path {
  let node: unknown = tree;
  for (const [depth, key] of path.entries()) {
    const entry = Object.entries(node ?? {}).find(([name]) => name === String(key));
    if (entry === undefined) return path.slice(0, depth);
    node = entry[1];
  }
  return path;
}

function valueAt(tree: unknown, path: Path): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return tree;
  const entry = Object.entries(tree ?? {}).find(([name]) => name === String(key));
  return valueAt(entry?.[1], rest);
}

function unknownSetting(key: string, known: readonly string[]): string {
  const close = known.find((name) => distance(name.toLowerCase(), key.toLowerCase()) <= 2);
  return close === undefined ? "unknown setting" : `unknown setting; did you mean "${close}"?`;
}

function unknownKey(key: string, path: Path): string {
  const message = unknownSetting(key, keysAt(configSchema, path));
  if (message !== "unknown setting") return message;
  return /secret|token|cdp|pepper|master/i.test(key)
    ? "unknown setting; secrets come from environment variables only"
    : "unknown setting";
}

function keysAt(schema: unknown, path: Path): readonly string[] {
  const inner = unwrap(schemaAt(schema, path));
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}

/** The schema of what is at the path; undefined below what is neither an object nor a record. */
function schemaAt(schema: unknown, path: Path): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return schema;
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) return schemaAt(inner.valueType, rest);
  return inner instanceof z.ZodObject ? schemaAt(inner.shape[String(key)], rest) : undefined;
}

function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional) return unwrap(schema.unwrap());
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return unwrap(schema.unwrap());
  return schema;
}

/** Levenshtein's distance, one row at a time. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, character] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const substitute = (row[j] ?? 0) + (character === other ? 0 : 1);
      next.push(Math.min(substitute, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
