import { isObject } from "./json-schema.ts";
import type { JsonObject } from "./types.ts";

const FORMATS: Readonly<Record<string, string>> = {
  date: "2026-01-31",
  "date-time": "2026-01-31T12:00:00Z",
  time: "12:00:00Z",
  email: "someone@example.com",
  hostname: "example.com",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
  uri: "https://example.com/",
  url: "https://example.com/",
  uuid: "00000000-0000-4000-8000-000000000000",
};
const MAX_DEPTH = 12;

/**
 * A value that the schema accepts: its own example where it gives one, else the least it asks for.
 * A string that must match a `pattern` needs an `example`: none is invented. The schema must be self-contained.
 */
export function sampleOf(schema: JsonObject): unknown {
  return sample(schema, 0);
}

function sample(schema: unknown, depth: number): unknown {
  if (!isObject(schema) || depth > MAX_DEPTH) return null;
  const given = givenValue(schema);
  if (given !== undefined) return given;
  const { allOf, oneOf, anyOf } = schema;
  if (Array.isArray(allOf)) return sample(merge(schema, "allOf", allOf), depth + 1);
  if (Array.isArray(oneOf)) return sample(merge(schema, "oneOf", oneOf.slice(0, 1)), depth + 1);
  if (Array.isArray(anyOf)) return sample(merge(schema, "anyOf", anyOf.slice(0, 1)), depth + 1);
  switch (typeOf(schema)) {
    case "object":
      return sampleObject(schema, depth);
    case "array":
      return sampleArray(schema, depth);
    case "integer":
    case "number":
      return sampleNumber(schema);
    case "boolean":
      return false;
    case "null":
      return null;
    default:
      return sampleString(schema);
  }
}

function givenValue(schema: JsonObject): unknown {
  const { example, examples, default: fallback } = schema;
  if (example !== undefined) return example;
  if (Array.isArray(examples) && examples.length > 0) return examples[0];
  if (fallback !== undefined) return fallback;
  if (Object.hasOwn(schema, "const")) return schema["const"];
  const { enum: values } = schema;
  return Array.isArray(values) ? values[0] : undefined;
}

/** The schema and its branches as one: enough for the object-shaped unions that inputs are made of. */
function merge(schema: JsonObject, keyword: string, branches: readonly unknown[]): JsonObject {
  const base = Object.fromEntries(Object.entries(schema).filter(([name]) => name !== keyword));
  const parts = [base, ...branches.filter(isObject)];
  const properties = parts.flatMap((part) => Object.entries(objectAt(part, "properties")));
  const required = parts.flatMap((part) => listAt(part, "required"));
  return {
    ...Object.fromEntries(parts.flatMap((part) => Object.entries(part))),
    ...(properties.length === 0 ? {} : { properties: Object.fromEntries(properties) }),
    ...(required.length === 0 ? {} : { required }),
  };
}

function typeOf(schema: JsonObject): unknown {
  const { type } = schema;
  if (Array.isArray(type)) return type.find((name) => name !== "null") ?? "null";
  if (type !== undefined) return type;
  if (isObject(schema["properties"]) || Array.isArray(schema["required"])) return "object";
  return schema["items"] === undefined ? "string" : "array";
}

/** Required properties, and those optional ones that say how they look. */
function sampleObject(schema: JsonObject, depth: number): JsonObject {
  const properties = objectAt(schema, "properties");
  const required = new Set(listAt(schema, "required").filter((name) => typeof name === "string"));
  const shown = Object.keys(properties).filter((name) => {
    const property = properties[name];
    return isObject(property) && (property["example"] !== undefined || property["examples"] !== undefined);
  });
  const names = [...new Set([...required, ...shown])];
  return Object.fromEntries(names.map((name) => [name, sample(properties[name] ?? {}, depth + 1)]));
}

function sampleArray(schema: JsonObject, depth: number): readonly unknown[] {
  const heads = listAt(schema, "prefixItems").map((item) => sample(item, depth + 1));
  const least = Math.max(numberAt(schema, "minItems") ?? 0, isObject(schema["items"]) ? 1 : 0);
  const most = numberAt(schema, "maxItems") ?? least;
  const tail = Math.max(0, Math.min(least, most) - heads.length);
  return [...heads, ...Array.from({ length: tail }, () => sample(schema["items"] ?? {}, depth + 1))];
}

/** The first of a few likely numbers that keeps all the bounds. */
function sampleNumber(schema: JsonObject): number {
  const step = numberAt(schema, "multipleOf") ?? (typeOf(schema) === "integer" ? 1 : undefined);
  const least = numberAt(schema, "minimum") ?? -Infinity;
  const most = numberAt(schema, "maximum") ?? Infinity;
  const above = numberAt(schema, "exclusiveMinimum") ?? -Infinity;
  const below = numberAt(schema, "exclusiveMaximum") ?? Infinity;
  const low = Math.max(least, above);
  const high = Math.min(most, below);
  const pace = step ?? 1;
  const stepped = Math.ceil(low / pace) * pace;
  const likely = [1, 0, low, stepped, stepped + pace, (low + high) / 2, high, Math.floor(high / pace) * pace];
  const keeps = (n: number) =>
    Number.isFinite(n) && n >= least && n <= most && n > above && n < below && isMultiple(n, step);
  return likely.find(keeps) ?? 1;
}

function isMultiple(n: number, step: number | undefined): boolean {
  return step === undefined || Math.abs(n / step - Math.round(n / step)) < 1e-9;
}

function sampleString(schema: JsonObject): string {
  const { format } = schema;
  const text = (typeof format === "string" ? FORMATS[format] : undefined) ?? "text";
  return text.padEnd(numberAt(schema, "minLength") ?? 0, "x").slice(0, numberAt(schema, "maxLength"));
}

function objectAt(schema: JsonObject, keyword: string): JsonObject {
  const value = schema[keyword];
  return isObject(value) ? value : {};
}

function listAt(schema: JsonObject, keyword: string): readonly unknown[] {
  const value = schema[keyword];
  return Array.isArray(value) ? value : [];
}

function numberAt(schema: JsonObject, keyword: string): number | undefined {
  const value = schema[keyword];
  return typeof value === "number" ? value : undefined;
}
