import { describe, expect, it } from "vitest";
import { publishRoute } from "../../server/discovery.ts";
import { apiCatalog } from "../../well-known/api-catalog.ts";
import { jsonBytes } from "../../well-known/fit.ts";
import { llmsTxt } from "../../well-known/llms-txt.ts";
import { openApiDocument } from "../../well-known/openapi.ts";
import { acceptsOf } from "../../well-known/resource.ts";
import { robotsTxt } from "../../well-known/robots-txt.ts";
import { bracePath, colonPath, pathParams } from "../../well-known/route-template.ts";
import type { PublishedRoute } from "../../well-known/types.ts";
import { x402Document } from "../../well-known/x402-document.ts";
import { FREE, PUBLISHED, published, ROUTES, SERVICE, TERMS } from "./stand.ts";

/** Documents are JSON, so that is what is compared. */
function json(value: unknown) {
  return JSON.parse(JSON.stringify(value));
}

const unknownTerms = published({ feePayer: undefined });
const keyOnly = published({ path: "/keyed", tiers: ["key"] });

describe("paths", () => {
  it.each([
    ["/agent", "/agent", "/agent", []],
    ["/report/:id", "/report/:id", "/report/{id}", ["id"]],
    ["/a/:b.:c", "/a/:b.:c", "/a/{b}.{c}", ["b", "c"]],
    ["/files/*path", "/files/:path", "/files/{path}", ["path"]],
    ["/a{/:b}", "/a", "/a", []],
    ["{/x}", "/", "/", []],
    ['/a/:"b-c"', "/a/:bc", "/a/{bc}", ["bc"]],
    ["/a\\:b", "/a:b", "/a:b", []],
    ["/é x/%20", "/%C3%A9%20x/%20", "/%C3%A9%20x/%20", []],
  ])("%s", (pattern, colon, brace, names) => {
    expect(colonPath(pattern)).toBe(colon);
    expect(bracePath(pattern)).toBe(brace);
    expect(pathParams(pattern)).toEqual(names);
    expect(URL.canParse(`https://api.example.com${colon}`)).toBe(true);
  });
});

describe("publishRoute", () => {
  it.each([
    [1n, "1", "0.000001"],
    [1_000n, "1000", "0.001"],
    [20_000n, "20000", "0.02"],
    [1_500_000n, "1500000", "1.50"],
    [9_007_199_254_740_993n, "9007199254740993", "9007199254.740993"],
  ])("%s MicroUsd", (price, amount, priceUsd) => {
    const [route] = ROUTES;
    if (route === undefined) throw new Error("no route");
    expect(publishRoute({ ...route, price }, TERMS)).toMatchObject({ amount, priceUsd, ...TERMS });
  });
});

describe("terms", () => {
  it("are complete", () => {
    expect(acceptsOf(published())).toEqual([
      {
        scheme: "exact",
        network: TERMS.network,
        amount: "20000",
        asset: TERMS.asset,
        payTo: TERMS.payTo,
        maxTimeoutSeconds: 60,
        extra: { feePayer: TERMS.feePayer },
      },
    ]);
  });
  it.each([
    ["no feePayer is known", unknownTerms],
    ["no wallet can pay", keyOnly],
  ])("or absent: %s", (_name, route) => {
    expect(acceptsOf(route)).toBeUndefined();
  });
});

describe("/.well-known/x402", () => {
  const document = json(x402Document(SERVICE, PUBLISHED));

  it("has exactly the known shape", () => {
    const [route] = PUBLISHED;
    expect(json(x402Document({ ...SERVICE, guidance: "Ask." }, PUBLISHED.slice(0, 1)))).toEqual({
      x402Version: 2,
      version: 1,
      kind: "resource-server",
      name: "Example Agents",
      description: "Agents by the call.",
      resources: ["https://api.example.com/agent"],
      items: [
        {
          resource: {
            url: "https://api.example.com/agent",
            description: route?.description,
            mimeType: "application/json",
            serviceName: "Example Agents",
            tags: ["ai", "agent", "llm"],
          },
          type: "http",
          accepts: json(acceptsOf(published())),
          input: {
            method: "POST",
            bodyType: "json",
            body: expect.objectContaining({ required: ["prompt"] }),
          },
          output: { mimeType: "application/json", example: route?.outputExample },
        },
      ],
      ownershipProofs: [],
      instructions: "Ask.",
      openapi: "https://api.example.com/openapi.json",
      docs: "https://api.example.com/llms.txt",
      updated: "2026-11-20T00:00:00Z",
      lastUpdated: 1795132800,
    });
  });

  it("lists every URL once, as a string that is a URL", () => {
    expect(document.resources).toEqual([
      "https://api.example.com/agent",
      "https://api.example.com/v1/chat/completions",
      "https://api.example.com/v1/embeddings",
      "https://api.example.com/report/:id",
      "https://api.example.com/files/:path",
      "https://api.example.com/motd",
    ]);
    for (const url of document.resources) expect(new URL(url).href).toBe(url);
  });

  it("has an item for every method, without keys that readers trip over", () => {
    expect(document.items).toHaveLength(PUBLISHED.length);
    for (const item of document.items) {
      expect(item).not.toHaveProperty("x402Version");
      expect(item).not.toHaveProperty("extensions");
      expect(item.accepts[0].amount).toMatch(/^[1-9]\d*$/);
    }
  });

  it("writes query routes with queryParams", () => {
    expect(document.items[3].input).toMatchObject({ method: "GET", queryParams: { required: ["lang"] } });
    expect(document.items[3].input).not.toHaveProperty("bodyType");
  });

  it("leaves accepts out while terms are unknown, and routes that no wallet can pay", () => {
    const { resources, items } = json(x402Document(SERVICE, [unknownTerms, keyOnly]));
    expect(resources).toEqual(["https://api.example.com/agent"]);
    expect(items).toHaveLength(1);
    expect(items[0]).not.toHaveProperty("accepts");
  });

  it.each([
    ["499", 499, 499],
    ["500", 500, 500],
    ["501", 501, 500],
  ])("cuts a description of %s characters to 500", (_name, length, expected) => {
    const { items } = json(x402Document(SERVICE, [published({ description: "d".repeat(length) })]));
    expect(items[0].resource.description).toHaveLength(expected);
  });

  it("never cuts a character in half", () => {
    const { items } = json(x402Document(SERVICE, [published({ description: `${"d".repeat(498)}😀😀` })]));
    expect(items[0].resource.description).toBe(`${"d".repeat(498)}…`);
  });

  it("cuts a description of wide characters to 900 bytes", () => {
    const { items } = json(x402Document(SERVICE, [published({ description: "語".repeat(500) })]));
    expect(items[0].resource.description).toBe(`${"語".repeat(299)}…`);
  });

  it("says at the end of the longest description too that a price depends on the request", () => {
    const long = published({ description: "語".repeat(500), quoted: true });
    const { description } = json(x402Document(SERVICE, [long])).items[0].resource;
    expect(description).toMatch(/…\s+Price: by the model .* the 402 quotes each\.$/);
    expect(description.length).toBeLessThanOrEqual(500);
    expect(Buffer.byteLength(description)).toBeLessThanOrEqual(900);
  });

  it("hangs its URLs below a publicUrl with a path", () => {
    const { resources, openapi } = json(
      x402Document({ ...SERVICE, publicUrl: "https://example.com/ai/" }, [published()]),
    );
    expect(resources).toEqual(["https://example.com/ai/agent"]);
    expect(openapi).toBe("https://example.com/ai/openapi.json");
  });
});

describe("/openapi.json", () => {
  const document = json(
    openApiDocument({ ...SERVICE, docsUrl: "https://example.com/docs" }, PUBLISHED, FREE),
  );
  const operation = (route: PublishedRoute) =>
    document.paths[bracePath(route.path)][route.method.toLowerCase()];

  it("names the service", () => {
    expect(document.openapi).toBe("3.1.0");
    expect(document.info).toMatchObject({
      title: "Example Agents",
      version: "2026-11-20",
      contact: { email: "api@example.com" },
    });
    expect(document.info["x-guidance"]).toContain("PAYMENT-REQUIRED");
    expect(document.servers).toEqual([{ url: "https://api.example.com" }]);
    expect(document["x-service-info"]).toEqual({
      categories: ["ai", "agent"],
      docs: {
        homepage: "https://example.com/docs",
        apiReference: "https://api.example.com/openapi.json",
        llms: "https://api.example.com/llms.txt",
      },
    });
  });

  it.each(PUBLISHED.map((route) => [route.method, route.path, route] as const))(
    "prices %s %s",
    (_m, _p, route) => {
      const paid = operation(route);
      expect(paid.security).toEqual([]);
      expect(paid["x-payment-info"]).toEqual({
        price: { mode: "fixed", currency: "USD", amount: route.priceUsd },
        protocols: [{ x402: {} }],
      });
      const [whole = "", fraction = ""] = paid["x-payment-info"].price.amount.split(".");
      expect(BigInt(whole + fraction.padEnd(6, "0")).toString()).toBe(route.amount);
      expect(paid.responses["402"].headers).toHaveProperty("PAYMENT-REQUIRED");
      expect(paid.summary).not.toBe("");
    },
  );

  it("describes bodies and queries", () => {
    const [agent] = PUBLISHED;
    const body = operation(agent as PublishedRoute).requestBody.content["application/json"];
    expect(body.schema.required).toEqual(["prompt"]);
    expect(body.schema.properties.model.enum).toEqual(TERMS.models);
    expect(body.example).toEqual({ prompt: "Say hello." });
    expect(document.paths["/report/{id}"].get.parameters).toEqual([
      { name: "id", in: "path", required: true, schema: { type: "string" } },
      { name: "lang", in: "query", required: true, schema: { type: "string", enum: ["en", "de"] } },
      { name: "pages", in: "query", required: false, schema: { type: "integer", minimum: 1 } },
    ]);
    expect(document.paths["/report/{id}"]).toHaveProperty("delete");
  });

  it("lists what is free as free", () => {
    for (const path of ["/v1/models", "/healthz"]) {
      expect(document.paths[path].get.security).toEqual([]);
      expect(document.paths[path].get).not.toHaveProperty("x-payment-info");
    }
  });

  it("asks for a key, and names no price, where only keys are taken", () => {
    const { paths, components } = json(openApiDocument(SERVICE, [keyOnly], []));
    expect(paths["/keyed"].post.security).toEqual([{ apiKey: [] }]);
    expect(Object.keys(paths["/keyed"].post.responses)).toEqual(["200", "401", "402"]);
    expect(paths["/keyed"].post.responses["402"]).not.toHaveProperty("headers");
    expect(paths["/keyed"].post).not.toHaveProperty("x-payment-info");
    expect(components.securitySchemes.apiKey).toEqual({ type: "http", scheme: "bearer" });
  });

  it("has operation ids that differ", () => {
    const paths: Record<string, Record<string, { operationId: string }>> = document.paths;
    const ids = Object.values(paths).flatMap((item) => Object.values(item).map((entry) => entry.operationId));
    expect(ids).toHaveLength(PUBLISHED.length + FREE.length);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("keeps guidance within 4,000 characters", () => {
    const { info } = json(openApiDocument({ ...SERVICE, guidance: "g".repeat(5_000) }, [], []));
    expect(info["x-guidance"]).toHaveLength(4_000);
  });
});

describe("size", () => {
  const properties = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`field${i}`, { type: "string", description: "d".repeat(80) }]),
  );
  const many = Array.from({ length: 100 }, (_, i) =>
    published({ path: `/r${i}`, input: { type: "object", properties, required: ["field0"] } }),
  );
  it("stays under 256 KiB by leaving out detail, not routes", () => {
    const x402 = json(x402Document(SERVICE, many));
    const openApi = json(openApiDocument(SERVICE, many, FREE));
    expect(x402.items).toHaveLength(100);
    expect(x402.items[99].input.body.properties.field39).toEqual({ type: "string" });
    expect(Object.keys(openApi.paths)).toHaveLength(102);
    expect(jsonBytes(x402)).toBeLessThan(256 * 1024);
    expect(jsonBytes(openApi)).toBeLessThan(256 * 1024);
  });
});

describe("/llms.txt", () => {
  it("says what there is, what it costs and where to read on", () => {
    const routes = [published({ description: "Ask\nanything." }), keyOnly];
    const text = llmsTxt(
      { ...SERVICE, guidance: "Be brief.", docsUrl: "https://example.com/docs" },
      routes,
      FREE,
    );
    expect(text.split("\n")).toEqual([
      "# Example Agents",
      "",
      "> Agents by the call.",
      "",
      "Be brief.",
      "",
      "## Paid endpoints",
      "",
      "- `POST https://api.example.com/agent`: Ask anything. $0.02 per call. Models: gpt-oss:20b, openai/gpt-4o-mini, vllm-primary.",
      expect.stringMatching(
        /^- `POST https:\/\/api\.example\.com\/keyed`: .* \$0\.02 per call, with an API key\./,
      ),
      "",
      "## Free endpoints",
      "",
      "- `GET https://api.example.com/v1/models`: Models and prices.",
      "- `GET https://api.example.com/healthz`: Whether the process is up.",
      "",
      "## Documents",
      "",
      "- [/openapi.json](https://api.example.com/openapi.json): OpenAPI 3.1, with prices and input schemas",
      "- [/.well-known/x402](https://api.example.com/.well-known/x402): every paid endpoint with its payment terms",
      "- [Documentation](https://example.com/docs)",
      "",
      "Contact: api@example.com",
      "",
    ]);
  });
  it("tells how to pay when the operator does not", () => {
    expect(llmsTxt(SERVICE, [], [])).toContain("PAYMENT-SIGNATURE");
  });
});

describe("/.well-known/api-catalog", () => {
  it("is a linkset to the documents", () => {
    expect(apiCatalog(SERVICE)).toEqual({
      linkset: [
        {
          anchor: "https://api.example.com/.well-known/api-catalog",
          item: [{ href: "https://api.example.com/" }],
        },
        {
          anchor: "https://api.example.com/",
          "service-desc": [{ href: "https://api.example.com/openapi.json", type: "application/json" }],
          "service-doc": [{ href: "https://api.example.com/llms.txt", type: "text/plain" }],
          "service-meta": [{ href: "https://api.example.com/.well-known/x402", type: "application/json" }],
        },
      ],
    });
  });
});

describe("/robots.txt", () => {
  it("allows everything", () => {
    expect(robotsTxt()).toBe("User-agent: *\nAllow: /\n");
  });
});
