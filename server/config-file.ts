import { type Document, LineCounter, parseDocument, visit } from "yaml";
import { isRecord, type Path, type Problems } from "./config-problems.ts";

type Report = (offset: number, message: string) => void;
type Env = Readonly<Record<string, string | undefined>>;

const SECRET_IN_FILE = `a secret does not belong in the file: write \${VARIABLE} and set the variable`;
const BAD_REFERENCE = `\${ must be followed by the name of a variable and }`;
const QUOTE_HINT = ` (inside { } or [ ] write "\${NAME}" with quotes)`;
const MAX_ALIASES = 100;
const REFERENCE = /\$\$\{|\$\{([A-Za-z_]\w*)\}|\$\{/g;
const QUERY_SECRET = /[?&](?:api[-_]?key|key|secret|(?:access[-_]?)?token)=(?!\$\{)[^&]/i;

/** Marks a value that was reported and is left out. */
const dropped = Symbol("dropped");

/**
 * Reads the YAML text: refuses secrets written into it and puts variables in the place of `${NAME}`.
 * Undefined: the text is not YAML, so nothing can be said about what it lacks. Anchors and aliases are allowed.
 */
export function readConfigTree(text: string, name: string, env: Env, problems: Problems): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const report = (offset: number, message: string) => {
    const { line, col } = lines.linePos(offset);
    problems.add(`${name}:${line}:${col}`, message);
  };
  reportSyntax(document, text, report);
  reportUnresolved(document, report);
  if (problems.list.length > 0) return undefined;
  const tree = toTree(document, name, problems);
  if (tree === dropped) return undefined;
  return tree === null ? {} : fill(tree, [], env, problems);
}

/**
 * Every duplicate key, and the first of the other errors, whose followers are noise.
 * What they quote is cut: a secret may begin with `!` or `*`.
 */
function reportSyntax(document: Document.Parsed, text: string, report: Report): void {
  const errors = [...document.errors, ...document.warnings];
  const first = errors.find(({ code }) => code !== "DUPLICATE_KEY");
  for (const error of errors) {
    if (error.code !== "DUPLICATE_KEY" && error !== first) continue;
    const [offset] = error.pos;
    const line = text.slice(text.lastIndexOf("\n", offset - 1) + 1).split("\n", 1)[0] ?? "";
    const hint = error === first && line.includes("${") ? QUOTE_HINT : "";
    report(offset, error.message.replace(/: .*$/s, "") + hint);
  }
}

function reportUnresolved(
  document: Document.Parsed,
  report: (offset: number, message: string) => void,
): void {
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return;
      report(alias.range?.[0] ?? 0, "the alias has no anchor before it");
    },
  });
}

function toTree(document: Document.Parsed, name: string, problems: Problems): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch {
    problems.add(name, `has aliases that expand to too much (at most ${MAX_ALIASES})`);
    return dropped;
  }
}

/** The same tree with its references filled in; values that were refused are left out. */
function fill(node: unknown, path: Path, env: Env, problems: Problems): unknown {
  if (Array.isArray(node)) {
    const items = node.map((item: unknown, index) => fill(item, [...path, index], env, problems));
    return items.includes(dropped) ? dropped : items;
  }
  if (isRecord(node)) {
    const filled = Object.entries(node).map(([key, value]): [string, unknown] => [
      key,
      fill(value, [...path, key], env, problems),
    ]);
    return Object.fromEntries(filled.filter(([, value]) => value !== dropped));
  }
  if (typeof node !== "string") return node;
  if (isLiteralSecret(node, path)) {
    problems.add(path, SECRET_IN_FILE);
    return dropped;
  }
  return interpolate(node, path, env, problems);
}

/** `${NAME}` -> the variable's value, once: what a variable holds is not searched again. `$${` stands for `${`. */
function interpolate(text: string, path: Path, env: Env, problems: Problems): unknown {
  let refused = false;
  const filled = text.replace(REFERENCE, (whole, name: string | undefined) => {
    if (whole === "$${") return "${";
    const value = name === undefined ? undefined : env[name];
    if (value !== undefined && value !== "") return value;
    refused = true;
    const reason = name === undefined ? BAD_REFERENCE : `the variable ${name} is not set`;
    problems.add(path, reason);
    return "";
  });
  return refused ? dropped : filled;
}

/** An `apiKey` must be one reference and nothing else; a key in the query of an RPC's or webhook's URL must be one too. */
function isLiteralSecret(text: string, path: Path): boolean {
  if (path[0] === "upstreams" && path[2] === "apiKey") return !/^\$\{[A-Za-z_]\w*\}$/.test(text);
  const place = path.join(".");
  return (path[0] === "rpcUrl" || place === "alerts.webhookUrl") && QUERY_SECRET.test(text);
}
