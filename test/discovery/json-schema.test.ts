import { validateDiscoveryExtension } from "@x402/extensions/bazaar";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { selfContained, shallow, withModels, withoutProse } from "../../well-known/json-schema.ts";
import { sampleOf } from "../../well-known/sample.ts";
import type { JsonObject } from "../../well-known/types.ts";

/** Ajv (2020-12), as the Bazaar's own validator runs it. */
function complaints(schema: JsonObject, value: unknown): readonly string[] | undefined {
  return validateDiscoveryExtension({ info: value, schema } as never).errors;
}

describe("a sample satisfies its schema", () => {
  it.each<[string, JsonObject, unknown]>([
    ["example wins", { type: "string", example: "a", default: "b" }, "a"],
    ["examples", { type: "string", examples: ["a", "b"] }, "a"],
    ["default", { type: "boolean", default: true }, true],
    ["const null", { const: null }, null],
    ["enum", { enum: ["en", "de"] }, "en"],
    ["nullable", { type: ["null", "integer"] }, 1],
    ["minLength", { type: "string", minLength: 6 }, "textxx"],
    ["maxLength", { type: "string", maxLength: 2 }, "te"],
    ["minimum", { type: "integer", minimum: 5 }, 5],
    ["fraction", { type: "number", minimum: 0.2, maximum: 0.5 }, 0.2],
    ["exclusive", { type: "number", exclusiveMinimum: 1, exclusiveMaximum: 2 }, 1.5],
    ["integer above a fraction", { type: "integer", minimum: 2.5 }, 3],
    ["multipleOf", { type: "integer", minimum: 7, multipleOf: 5 }, 10],
    ["negative", { type: "integer", maximum: -3 }, -3],
    ["required only", { properties: { a: { type: "string" }, b: {} }, required: ["a"] }, { a: "text" }],
    ["optional with an example", { properties: { a: { examples: [1] } } }, { a: 1 }],
    ["array", { type: "array", items: { type: "integer" } }, [1]],
    ["minItems", { type: "array", items: { const: 1 }, minItems: 3 }, [1, 1, 1]],
    ["maxItems 0", { type: "array", items: { const: 1 }, maxItems: 0 }, []],
    ["tuple", { type: "array", prefixItems: [{ const: 1 }, { const: 2 }], minItems: 2 }, [1, 2]],
    ["free array", { type: "array" }, []],
    [
      "allOf",
      { allOf: [{ properties: { a: { const: 1 } }, required: ["a"] }, { required: ["b"] }] },
      { a: 1, b: "text" },
    ],
    ["oneOf beside properties", { type: "object", oneOf: [{ required: ["a"] }] }, { a: "text" }],
    ["anyOf", { anyOf: [{ type: "boolean" }, { type: "string" }] }, false],
    ["nothing said", {}, "text"],
  ])("%s", (_name, schema, value) => {
    expect(sampleOf(schema)).toEqual(value);
    expect(complaints(schema, sampleOf(schema))).toBeUndefined();
  });

  it("for any schema of the usual kind", () => {
    fc.assert(
      fc.property(anySchema, (schema) => {
        expect(complaints(schema, sampleOf(schema))).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });

  it("and the shortened forms of that schema", () => {
    fc.assert(
      fc.property(anySchema, (schema) => {
        const value = sampleOf(schema);
        expect(complaints(withoutProse(schema), value)).toBeUndefined();
        expect(complaints(shallow(schema), value)).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });
});

const { schema: anySchema } = fc.letrec<{ schema: JsonObject; leaf: JsonObject }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ type: fc.constant("string"), minLength: fc.nat(9), description: fc.string() }),
    fc.record({ type: fc.constant("string"), maxLength: fc.nat(9) }),
    fc.record({ type: fc.constant("integer"), minimum: fc.integer() }),
    fc.record({ type: fc.constant("integer"), maximum: fc.integer(), multipleOf: fc.constantFrom(1, 2, 5) }),
    fc.record({ type: fc.constant("number"), exclusiveMinimum: fc.integer({ min: -99, max: 99 }) }),
    fc.record({ enum: fc.uniqueArray(fc.oneof(fc.string(), fc.integer(), fc.boolean()), { minLength: 1 }) }),
    fc.constant({ type: ["boolean", "null"], default: null }),
  ),
  schema: fc.oneof(
    { maxDepth: 4 },
    tie("leaf"),
    fc.record({ type: fc.constant("array"), items: tie("schema"), minItems: fc.nat(3) }),
    fc.record({
      type: fc.constant("object"),
      properties: fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), tie("schema"), { maxKeys: 4 }),
      required: fc.uniqueArray(fc.constantFrom("a", "b", "c"), { maxLength: 2 }),
      additionalProperties: fc.constant({}),
    }),
  ),
})) as { schema: fc.Arbitrary<JsonObject> };

describe("a self-contained schema", () => {
  it.each<[string, JsonObject, JsonObject]>([
    [
      "local references are written out, siblings win",
      { $defs: { a: { type: "string", title: "x" } }, properties: { p: { $ref: "#/$defs/a", title: "y" } } },
      { properties: { p: { type: "string", title: "y" } } },
    ],
    [
      "escaped pointers",
      { definitions: { "a/b~c": { type: "null" } }, items: { $ref: "#/definitions/a~1b~0c" } },
      { items: { type: "null" } },
    ],
    [
      "foreign references go",
      { properties: { p: { $ref: "https://example.com/s.json" } } },
      { properties: { p: {} } },
    ],
    ["dangling references go", { items: { $ref: "#/nowhere/else" } }, { items: {} }],
    [
      "endless references end",
      { $defs: { n: { properties: { next: { $ref: "#/$defs/n" } } } }, $ref: "#/$defs/n" },
      { properties: { next: {} } },
    ],
    ["identity goes", { $id: "https://example.com/x", $schema: "y", type: "object" }, { type: "object" }],
    ["look-ahead goes", { type: "string", pattern: "^(?=a)b" }, { type: "string" }],
    ["look-behind goes", { type: "string", pattern: "(?<!a)b" }, { type: "string" }],
    ["named groups stay", { pattern: "(?<year>\\d{4})" }, { pattern: "(?<year>\\d{4})" }],
    [
      "look-ahead in a property name takes the prohibition along",
      { patternProperties: { "^(?!x)": {} }, additionalProperties: false },
      {},
    ],
    [
      "a property may be called like a keyword",
      { properties: { pattern: { type: "string" }, $id: { type: "string" } } },
      { properties: { pattern: { type: "string" }, $id: { type: "string" } } },
    ],
    ["data is not a schema", { const: { $ref: "#/x" } }, { const: { $ref: "#/x" } }],
  ])("%s", (_name, schema, expected) => {
    expect(selfContained(schema)).toEqual(expected);
  });
});

describe("model names", () => {
  const schema = { properties: { model: { type: "string", default: "x", description: "d" }, q: {} } };
  it("become the only values of `model`", () => {
    expect(withModels(schema, ["a", "b"])).toEqual({
      properties: { model: { type: "string", description: "d", enum: ["a", "b"] }, q: {} },
    });
  });
  it.each<[string, JsonObject, readonly string[] | undefined]>([
    ["none known", schema, []],
    ["not told", schema, undefined],
    ["no such field", { properties: { q: {} } }, ["a"]],
    ["no fields", {}, ["a"]],
  ])("leave the schema alone: %s", (_name, input, models) => {
    expect(withModels(input, models)).toBe(input);
  });
});
