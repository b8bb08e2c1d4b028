import type { JsonObject } from "./types.ts";

const SCHEMA_MAPS = new Set(["properties", "patternProperties", "dependentSchemas"]);
const SCHEMA_LISTS = new Set(["allOf", "anyOf", "oneOf", "prefixItems"]);
const SCHEMAS = new Set([
  "items",
  "additionalProperties",
  "unevaluatedItems",
  "unevaluatedProperties",
  "propertyNames",
  "contains",
  "not",
  "if",
  "then",
  "else",
]);
/** Meaningless once a schema is embedded in another document, or refused by the Bazaar's check for foreign references. */
const ROOT_KEYWORDS = new Set([
  "$schema",
  "$id",
  "$defs",
  "definitions",
  "$anchor",
  "$dynamicAnchor",
  "$dynamicRef",
  "$comment",
]);
const PROSE = new Set(["title", "description", "example", "examples", "default", "deprecated"]);
/** RE2, which CDP compiles patterns with, has no look-around. */
const LOOK_AROUND = /\(\?<?[=!]/;
const MAX_REFS = 8;

/** True for a JSON object: not null, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The schema without anything that points out of it, so that it means the same inside another document: local `$ref`s are
 * written out, foreign and endless ones and patterns with look-around are dropped (the schema gets looser, never stricter).
 */
export function selfContained(schema: JsonObject): JsonObject {
  const result = inline(schema, schema, []);
  return isObject(result) ? result : {};
}

function inline(node: unknown, root: JsonObject, followed: readonly string[]): unknown {
  if (!isObject(node)) return node;
  const { $ref, ...rest } = node;
  const target = typeof $ref === "string" && followed.length < MAX_REFS ? pointed(root, $ref) : undefined;
  if (typeof $ref === "string" && isObject(target) && !followed.includes($ref)) {
    return inline({ ...target, ...rest }, root, [...followed, $ref]);
  }
  const dropped = new Set([...ROOT_KEYWORDS, ...unreadable(rest)]);
  return mapSchemas(
    without(rest, (keyword) => dropped.has(keyword)),
    (child) => inline(child, root, followed),
  );
}

function pointed(root: JsonObject, ref: string): unknown {
  if (ref !== "#" && !ref.startsWith("#/")) return undefined;
  const steps = ref.split("/").slice(1);
  return steps.reduce<unknown>((node, step) => {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    return isObject(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  }, root);
}

/** Keywords lost to a look-around; with `patternProperties` goes what would forbid the properties it allowed. */
function unreadable(schema: JsonObject): readonly string[] {
  const { pattern, patternProperties } = schema;
  const names = isObject(patternProperties) ? Object.keys(patternProperties) : [];
  return [
    ...(typeof pattern === "string" && LOOK_AROUND.test(pattern) ? ["pattern"] : []),
    ...(names.some((name) => LOOK_AROUND.test(name))
      ? ["patternProperties", "additionalProperties", "unevaluatedProperties"]
      : []),
  ];
}

/** The schema without titles, descriptions, examples and defaults: what it accepts is unchanged. */
export function withoutProse(schema: JsonObject): JsonObject {
  return mapSchemas(
    without(schema, (keyword) => PROSE.has(keyword)),
    (child) => (isObject(child) ? withoutProse(child) : child),
  );
}

/** Only the names, types and necessity of the top-level properties: accepts all the schema accepts. */
export function shallow(schema: JsonObject): JsonObject {
  const { type, properties, required } = schema;
  return {
    ...(type === undefined ? {} : { type }),
    ...(isObject(properties) ? { properties: mapValues(properties, typeOnly) } : {}),
    ...(Array.isArray(required) ? { required } : {}),
  };
}

function typeOnly(schema: unknown): JsonObject {
  return isObject(schema) && schema["type"] !== undefined ? { type: schema["type"] } : {};
}

/** The schema with the `model` property, if it has one, narrowed to these names. */
export function withModels(schema: JsonObject, models: readonly string[] | undefined): JsonObject {
  const { properties } = schema;
  if (models === undefined || models.length === 0 || !isObject(properties)) return schema;
  const { model } = properties;
  if (!isObject(model)) return schema;
  const named = {
    ...without(model, (keyword) => keyword !== "type" && keyword !== "description"),
    enum: models,
  };
  return { ...schema, properties: { ...properties, model: named } };
}

function mapSchemas(schema: JsonObject, visit: (child: unknown) => unknown): JsonObject {
  return Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => {
      if (SCHEMA_MAPS.has(keyword) && isObject(value)) return [keyword, mapValues(value, visit)];
      if (SCHEMA_LISTS.has(keyword) && Array.isArray(value)) return [keyword, value.map(visit)];
      return [keyword, SCHEMAS.has(keyword) ? visit(value) : value];
    }),
  );
}

function mapValues(map: JsonObject, visit: (value: unknown) => unknown): JsonObject {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, visit(value)]));
}

function without(map: JsonObject, drop: (key: string, value: unknown) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(map).filter(([key, value]) => !drop(key, value)));
}
