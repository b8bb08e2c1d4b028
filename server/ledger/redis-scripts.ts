import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

/** A Lua script as Redis runs it, and the SHA-1 by which Redis knows it. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

const DIRECTORY = new URL("./scripts/", import.meta.url);
const INCLUDE = /^-- @include (.*)$/m;
const FLAGS = /^-- @flags (.*)$/m;

/**
 * Reads every script of `scripts/`, each after the parts that its first line includes.
 *
 * All of them declare flags (`#!lua`), so that Redis decides before the first write whether one may run: read-only, without its
 * replicas, with a broken append-only file or out of memory it is refused whole. `allow-oom` are those that end what was begun:
 * at `maxmemory` nothing new is admitted, but what is under way is settled, captured and freed.
 */
export function readScripts(): ReadonlyMap<string, Script> {
  const names = readdirSync(DIRECTORY).filter((file) => file.endsWith(".lua"));
  const parts = new Map(
    names.map((file) => [file.slice(0, -".lua".length), readFileSync(new URL(file, DIRECTORY), "utf8")]),
  );
  return new Map(
    [...parts].filter(([, body]) => INCLUDE.test(body)).map(([name, body]) => [name, compose(body, parts)]),
  );
}

function compose(body: string, parts: ReadonlyMap<string, string>): Script {
  const included = ["mark", ...(INCLUDE.exec(body)?.[1] ?? "").split(" ")].map((name) => {
    const part = parts.get(name);
    if (part === undefined) throw new Error(`There is no script part ${name}.`);
    return part;
  });
  const flags = FLAGS.exec(body)?.[1];
  const source = [flags === undefined ? "#!lua" : `#!lua flags=${flags}`, ...included, body].join("\n");
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}
