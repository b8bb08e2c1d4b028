import { PaymentRequiredV2Schema } from "@x402/core/schemas";
import {
  extractDiscoveryInfo,
  isValidRouteTemplate,
  sanitizeResourceServiceMetadata,
  validateDiscoveryExtension,
  validateDiscoveryExtensionSpec,
} from "@x402/extensions/bazaar";
import { describe, expect, it } from "vitest";
import { BAZAAR_MAX_BYTES, bazaarExtension } from "../../well-known/bazaar.ts";
import { jsonBytes } from "../../well-known/fit.ts";
import { resourceOf } from "../../well-known/resource.ts";
import type { JsonObject, PublishedRoute } from "../../well-known/types.ts";
import { headerOf, PUBLISHED, paymentRequired, published, SERVICE } from "./stand.ts";

const named = PUBLISHED.map((route) => [`${route.method} ${route.path}`, route] as const);

const wide: JsonObject = {
  type: "object",
  properties: Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [
      `field${i}`,
      { type: "string", description: "Tells the server something of importance.", maxLength: 100 + i },
    ]),
  ),
  required: ["field0"],
};
const deep: JsonObject = {
  type: "object",
  properties: {
    q: { type: "object", properties: wide["properties"], required: ["field0"], description: "x".repeat(900) },
  },
  required: ["q"],
};

const awkward: readonly (readonly [string, PublishedRoute])[] = [
  ["long prose", published({ input: { ...deep, description: "y".repeat(2_000) } })],
  ["many fields", published({ input: wide })],
  ["deep fields", published({ input: deep })],
  ["a long example answer", published({ outputExample: { text: "z".repeat(5_000) } })],
  ["many models", published({ models: Array.from({ length: 200 }, (_, i) => `vendor/model-${i}`) })],
  ["a description of 500 wide characters", published({ description: "語".repeat(500) })],
  [
    "a long path, a long description and many fields",
    published({ path: `/${"p".repeat(255)}`, description: "d".repeat(500), input: wide }),
  ],
  ["no schema", published({ input: {} })],
  ["a query without parameters", published({ method: "GET", input: {} })],
  ["a binary answer", published({ mimeType: "image/png", outputExample: undefined })],
  [
    "a field called $id",
    published({ input: { properties: { $id: { type: "string" } }, required: ["$id"] } }),
  ],
  [
    "a schema that refers to itself",
    published({ input: { $defs: { a: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" } }),
  ],
];

describe.each([...named, ...awkward])("%s", (_name, route) => {
  const extension = bazaarExtension(route) as JsonObject;

  it("passes the official validators", () => {
    expect(validateDiscoveryExtensionSpec(extension)).toEqual({ valid: true });
    expect(validateDiscoveryExtension(extension as never)).toEqual({ valid: true });
  });

  it("is small, and the whole challenge fits a proxy's header", () => {
    expect(jsonBytes(extension)).toBeLessThanOrEqual(BAZAAR_MAX_BYTES);
    expect(headerOf(route).length).toBeLessThan(4_096);
  });

  it("stands in a challenge that the official parser takes", () => {
    expect(PaymentRequiredV2Schema.safeParse(paymentRequired(route)).error).toBeUndefined();
  });
});

describe("what a facilitator files", () => {
  it.each(named)("%s", (_name, route) => {
    const payload = { ...paymentRequired(route), accepted: {}, payload: {} };
    const filed = extractDiscoveryInfo(payload as never, {} as never);
    const template = route.path.replace("*", ":");
    expect(filed).toMatchObject({
      resourceUrl: `https://api.example.com${template}`,
      method: route.method,
      serviceName: "Example Agents",
      tags: route.tags,
      routeTemplate: template.includes(":") ? template : undefined,
    });
  });

  it("has a template of the official form, and names its parameters", () => {
    const extension = bazaarExtension(published({ method: "GET", path: "/a/:b/c/:d" })) as JsonObject;
    expect(extension["routeTemplate"]).toBe("/a/:b/c/:d");
    expect(isValidRouteTemplate("/a/:b/c/:d")).toBe(true);
    const schema = JSON.stringify(extension["schema"]);
    expect(schema).toContain('"pathParams":{"type":"object","properties":{"b":{"type":"string"},"d":');
    const info = { input: { type: "http", method: "GET", pathParams: { b: "1" } } };
    expect(validateDiscoveryExtension({ ...extension, info } as never).valid).toBe(false);
    Object.assign(info.input.pathParams, { d: "2" });
    expect(validateDiscoveryExtension({ ...extension, info } as never).valid).toBe(true);
  });
});

describe("body and query", () => {
  it.each(["POST", "PUT", "PATCH"])("%s has a JSON body", (method) => {
    const extension = bazaarExtension(published({ method })) as JsonObject;
    expect(extension["info"]).toMatchObject({
      input: { type: "http", method, bodyType: "json", body: { prompt: "Say hello." } },
    });
    expect(JSON.stringify(extension)).not.toContain("queryParams");
  });
  it.each(["GET", "HEAD", "DELETE"])("%s has a query and no bodyType", (method) => {
    const extension = bazaarExtension(published({ method })) as JsonObject;
    expect(extension["info"]).toMatchObject({
      input: { type: "http", method, queryParams: { prompt: "Say hello." } },
    });
    expect(JSON.stringify(extension)).not.toMatch(/bodyType|"body"/);
  });
});

describe("what is given up first", () => {
  it("prose, before any part of the schema", () => {
    const route = published({
      input: { type: "object", title: "t".repeat(2_000), properties: { a: { maxLength: 3 } } },
    });
    const text = JSON.stringify(bazaarExtension(route));
    expect(text).not.toContain("ttt");
    expect(text).toContain('"a":{"maxLength":3}');
    expect(text).toContain("Hello!");
  });
  it("then everything, when even the example call is too large", () => {
    const route = published({ input: { type: "object", properties: { a: { example: "x".repeat(1_600) } } } });
    expect(bazaarExtension(route)).toBeUndefined();
  });
  it("nothing of our own endpoints' schemas but prose", () => {
    for (const route of PUBLISHED.slice(0, 3)) {
      const text = JSON.stringify(bazaarExtension(route));
      expect(text).toContain('"required":[');
      expect(text).toContain(JSON.stringify(route.outputExample));
      expect(text).toContain('"enum":["gpt-oss:20b","openai/gpt-4o-mini","vllm-primary"]');
    }
  });
});

describe("service metadata survives the facilitators' sieve", () => {
  it.each<[string, string, readonly string[], string | undefined, readonly string[] | undefined]>([
    ["plain", "Shop", ["a", "b"], "Shop", ["a", "b"]],
    ["accents", "Café Zoë", ["überall"], "Cafe Zoe", ["uberall"]],
    ["too long", "n".repeat(40), ["t".repeat(40)], "n".repeat(32), ["t".repeat(32)]],
    ["control characters", "a\u0007b\nc", ["x\ty"], "abc", ["xy"]],
    ["too many, twice the same", "S", ["a", "A", "b", "c", "d", "e", "f"], "S", ["a", "b", "c", "d", "e"]],
    ["nothing left", "店", ["店"], undefined, undefined],
  ])("%s", (_name, name, tags, serviceName, expectedTags) => {
    const resource = resourceOf({ ...SERVICE, name }, published({ tags }));
    expect(resource.serviceName).toBe(serviceName);
    expect(resource.tags).toEqual(expectedTags);
    const { url: _url, description: _description, mimeType: _mimeType, ...metadata } = resource;
    expect(sanitizeResourceServiceMetadata(resource as never)).toEqual(metadata);
  });
  it("takes the service's tags where a route has none", () => {
    expect(resourceOf(SERVICE, published({ tags: [] })).tags).toEqual(SERVICE.tags);
  });
});
