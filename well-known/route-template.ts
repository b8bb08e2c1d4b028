import { parse, type Token } from "path-to-regexp";

/**
 * The path in the form `/report/:id`.
 *
 * This is the form of `/.well-known/x402` and of bazaar's `routeTemplate` (specs/extensions/bazaar.md: `:param`; braces are
 * refused there). It is a legal URL as it stands, so readers that demand URLs take it, and asking for it literally reaches
 * the route, because `:id` is a value that `:id` matches: the listed URL answers 402 like any other.
 */
export function colonPath(pattern: string): string {
  return write(pattern, (param) => `:${param}`);
}

/** The path in OpenAPI's form, `/report/{id}`. */
export function bracePath(pattern: string): string {
  return write(pattern, (param) => `{${param}}`);
}

/** Names of the path's parameters, in order; wildcards are parameters too. */
export function pathParams(pattern: string): readonly string[] {
  return parse(pattern).tokens.flatMap((token) => paramName(token) ?? []);
}

/** Optional groups are left out: the documents have no optional segments, and the shortest form is always served. */
function write(pattern: string, param: (name: string) => string): string {
  const path = parse(pattern)
    .tokens.map((token) => {
      const name = paramName(token);
      if (name !== undefined) return param(name);
      return token.type === "text" ? encodeText(token.value) : "";
    })
    .join("");
  return path === "" ? "/" : path;
}

/** Only letters, digits and `_`: other characters mean something to the readers of a template. */
function paramName(token: Token): string | undefined {
  if (token.type !== "param" && token.type !== "wildcard") return undefined;
  return token.name.replace(/[^A-Za-z0-9_]/g, "") || "param";
}

/** Escapes what a URL cannot hold and leaves what the pattern has escaped already. */
function encodeText(text: string): string {
  return encodeURI(text).replace(/%25(?=[0-9A-Fa-f]{2})/g, "%");
}
