import { firstWithin } from "./fit.ts";
import { selfContained, shallow, withModels, withoutProse } from "./json-schema.ts";
import { resourceDescription } from "./resource.ts";
import { colonPath, pathParams } from "./route-template.ts";
import { sampleOf } from "./sample.ts";
import type { JsonObject, PublishedRoute } from "./types.ts";

/**
 * Most bytes of the extension as JSON: with the rest of the challenge, base64 of it stays below 4 KB.
 * A description of more than {@link DESCRIPTION_BYTES} takes its surplus from this.
 */
export const BAZAAR_MAX_BYTES = 1_600;

const DESCRIPTION_BYTES = 200;
/** The facilitators' check for foreign references takes a property of this name for one and refuses the whole extension. */
const LOOKS_FOREIGN = /"\$(?:id|ref)":/;

const BODY_METHODS = new Set(["POST", "PUT", "PATCH"]);

interface Content {
  readonly input: JsonObject;
  readonly withExample: boolean;
}

/** Whether the method's input is a body (POST, PUT, PATCH) and not a query. */
export function hasBody(method: string): boolean {
  return BODY_METHODS.has(method);
}

/** The schema of a route's input as it is published: self-contained, its models named. */
export function inputSchema(route: PublishedRoute): JsonObject {
  return withModels(selfContained(route.input), route.models);
}

/**
 * The 402's `extensions.bazaar`: an example call, an example answer and the JSON Schema 2020-12 that describes both
 * (specs/extensions/bazaar.md). At most {@link BAZAAR_MAX_BYTES}: a larger route loses prose, then the inner parts of its
 * schema, then the example answer; `maxBytes` asks for less. Undefined when even the example call alone is too large.
 *
 * A route with path parameters gets a `routeTemplate`, under which an index files all its URLs. Their values differ from call
 * to call and are left out (`pathParams` is optional), so that the extension is the same for every call and encoded once.
 */
export function bazaarExtension(route: PublishedRoute, maxBytes = BAZAAR_MAX_BYTES): JsonObject | undefined {
  const full = inputSchema(route);
  const call = sampleOf(full);
  const lean = withoutProse(full);
  const rough = shallow(full);
  const contents: readonly Content[] = [
    { input: full, withExample: true },
    { input: lean, withExample: true },
    { input: rough, withExample: true },
    { input: rough, withExample: false },
    { input: { type: "object" }, withExample: false },
  ];
  const surplus = Math.max(0, Buffer.byteLength(resourceDescription(route)) - DESCRIPTION_BYTES);
  return firstWithin(
    Math.min(maxBytes, BAZAAR_MAX_BYTES - surplus),
    contents
      .filter((content) => !LOOKS_FOREIGN.test(JSON.stringify(content.input)))
      .map((content) => () => extension(route, call, content)),
  );
}

function extension(route: PublishedRoute, call: unknown, content: Content): JsonObject {
  const params = pathParams(route.path);
  const example = content.withExample && route.outputExample !== undefined ? route.outputExample : undefined;
  return {
    ...(params.length === 0 ? {} : { routeTemplate: colonPath(route.path) }),
    info: {
      input: {
        type: "http",
        method: route.method,
        ...(hasBody(route.method) ? { bodyType: "json", body: call } : { queryParams: call }),
      },
      output: { type: outputType(route.mimeType), ...(example === undefined ? {} : { example }) },
    },
    schema: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: { input: callSchema(route.method, params, content.input), output: answerSchema(example) },
      required: ["input"],
    },
  };
}

function callSchema(method: string, params: readonly string[], input: JsonObject): JsonObject {
  const body = hasBody(method);
  return {
    type: "object",
    properties: {
      type: { type: "string", const: "http" },
      method: { type: "string", enum: [method] },
      ...(body ? { bodyType: { type: "string", enum: ["json"] }, body: input } : { queryParams: input }),
      ...(params.length === 0 ? {} : { pathParams: paramsSchema(params) }),
    },
    required: body ? ["type", "method", "bodyType", "body"] : ["type", "method"],
    additionalProperties: false,
  };
}

function paramsSchema(params: readonly string[]): JsonObject {
  return {
    type: "object",
    properties: Object.fromEntries(params.map((name) => [name, { type: "string" }])),
    required: params,
  };
}

function answerSchema(example: unknown): JsonObject {
  const type = jsonType(example);
  return {
    type: "object",
    properties: { type: { type: "string" }, example: type === undefined ? {} : { type } },
    required: ["type"],
  };
}

function outputType(mimeType: string): string {
  if (/[/+]json\b/i.test(mimeType)) return "json";
  return mimeType.startsWith("text/") ? "text" : mimeType;
}

/** The JSON Schema type of a value; undefined for undefined. */
export function jsonType(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
