import { request } from "node:http";
import {
  checkEndpointSchema,
  discoverOriginSchema,
  GuidanceMode,
  getOpenAPI,
  getProbe,
  getWarningsForOpenAPI,
  isOpenApiParseFailure,
  validatePaymentRequiredDetailed,
} from "@agentcash/discovery";
import {
  type DiscoveryExtension,
  validateDiscoveryExtension,
  validateDiscoveryExtensionSpec,
} from "@x402/extensions/bazaar";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBuyer, termsOf } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { nothingPaid, since, tally } from "./shop-facts.ts";

/** nginx's default buffer for an upstream's headers. */
const PROXY_BUFFER_BYTES = 4_096;

const ROUTES = [
  ["POST", "/agent", "20000"],
  ["POST", "/v1/chat/completions", "20000"],
  ["POST", "/v1/embeddings", "2000"],
  ["POST", "/ai/chat/completions", "20000"],
  ["POST", "/ai/embeddings", "2000"],
  ["POST", "/api/v1/chat/completions", "20000"],
  ["POST", "/api/v1/embeddings", "2000"],
  ["POST", "/keys", "1000000"],
  ["POST", "/topup", "1000000"],
  ["GET", "/report/:id", "50000"],
  ["DELETE", "/report/:id", "1000"],
] as const;

/** The request says what it costs. */
const isCredit = (path: string): boolean => path.endsWith("/keys") || path.endsWith("/topup");
const BOUNDS = { mode: "dynamic", currency: "USD", min: "1.00", max: "1000.00" };

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({
    yaml: `
routes:
  "GET /report/:id":
    upstream: default
    price: "$0.05"
    description: One report by its id
    input: { type: object, properties: { lang: { type: string, enum: [en, de] } } }
    output: { id: "7", text: "..." }
  "DELETE /report/:id": { upstream: default, price: "$0.001", description: Removes a report }
`,
  });
});
afterAll(() => shop.close());

interface Item {
  readonly resource: { readonly url: string };
  readonly accepts: readonly Record<string, unknown>[];
  readonly input: { readonly method: string };
}

interface X402Document {
  readonly resources: readonly string[];
  readonly items: readonly Item[];
}

async function json<T>(path: string): Promise<T> {
  const response = await fetch(shop.url + path);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

/** `fetch` writes Host itself; a spoofing client does not. */
function rawGet(path: string, headers: Record<string, string>): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(shop.url + path, { headers }, (response) => {
      let text = JSON.stringify(response.headers);
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.once("error", reject).end();
  });
}

const concrete = (path: string): string => path.replace(":id", "7");

test("every route that is sold is listed, and nothing else", async () => {
  const { resources, items } = await json<X402Document>("/.well-known/x402");
  expect(items.map(({ input, resource }) => [input.method, resource.url])).toEqual(
    ROUTES.map(([method, path]) => [method, shop.url + path]),
  );
  expect(new Set(resources)).toEqual(new Set(ROUTES.map(([, path]) => shop.url + path)));
});

describe.each(ROUTES)("%s %s", (method, path, amount) => {
  const unpaid = (init: RequestInit = {}): Promise<Response> =>
    fetch(shop.url + concrete(path), { method, ...init });

  async function listed(): Promise<Item> {
    const { items } = await json<X402Document>("/.well-known/x402");
    const found = items.find((item) => item.resource.url === shop.url + path && item.input.method === method);
    if (found === undefined) throw new Error(`${method} ${path} is not listed`);
    return found;
  }

  const BODIES =
    method === "POST"
      ? [
          ["no body", {}],
          ["an empty body", { body: "" }],
          ["an empty object", { body: "{}" }],
          ["broken JSON", { body: '{"prompt":' }],
          ["another type", { body: "<x/>", headers: { "content-type": "text/xml" } }],
        ]
      : [
          ["no query", {}],
          ["a query against the schema", {}],
        ];

  test.each(BODIES as [string, RequestInit][])("1. unpaid with %s it is 402", async (name, init) => {
    const before = tally(shop);
    const query = name.startsWith("a query") ? "?lang=klingon" : "";
    const response = await fetch(shop.url + concrete(path) + query, { method, ...init });
    expect(response.status).toBe(402);
    expect(since(shop, before)).toEqual(nothingPaid(0));
  });

  test("2. HEAD runs nothing, unpaid or paid", async () => {
    const buyer = await createBuyer(shop);
    const payment = await buyer.sign(shop.url + concrete(path), { method });
    const before = tally(shop);
    const head = await unpaid({ method: "HEAD" });
    expect([402, 405]).toContain(head.status);
    const paid = await buyer.send(shop.url + concrete(path), { method: "HEAD" }, payment);
    expect([402, 405]).toContain(paid.status);
    expect(since(shop, before)).toEqual(nothingPaid(0));
  });

  test.each(["PUT", "PATCH"])("3. the wrong method %s is 404 or 405, as JSON", async (wrong) => {
    const response = await fetch(shop.url + concrete(path), { method: wrong });
    expect([404, 405]).toContain(response.status);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect(await response.json()).toHaveProperty("error.message");
  });

  test("5. a browser's user agent gets JSON all the same", async () => {
    const browser = {
      "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
      accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    };
    const response = await unpaid({ headers: browser });
    expect(response.status).toBe(402);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect(await response.json()).toHaveProperty("accepts");
  });

  test("6. the listed terms equal the live ones, token and memo aside", async () => {
    const [live] = termsOf(await unpaid()).accepts;
    const { token, memo, ...extra } = (live?.["extra"] ?? {}) as Record<string, unknown>;
    expect(token).toEqual(expect.any(String));
    expect(memo).toEqual(expect.any(String));
    expect((await listed()).accepts).toEqual([{ ...live, extra }]);
  });

  test("7. the listed URL answers 402 to its method", async () => {
    const { resource, input } = await listed();
    const response = await fetch(resource.url, { method: input.method });
    expect(response.status).toBe(402);
  });

  test("8. OpenAPI's price is the 402's amount", async () => {
    const { paths } = await json<{ paths: Record<string, Record<string, Record<string, unknown>>> }>(
      "/openapi.json",
    );
    const operation = paths[path.replace(":id", "{id}")]?.[method.toLowerCase()];
    const info = operation?.["x-payment-info"] as {
      price: { amount: string; currency: string; mode: string };
    };
    if (isCredit(path)) {
      expect(info.price).toEqual(BOUNDS);
    } else {
      expect(info.price).toMatchObject({ mode: "fixed", currency: "USD" });
      const [, whole = "", fraction = ""] = /^(\d+)\.(\d+)$/.exec(info.price.amount) ?? [];
      expect(String(BigInt(whole + fraction.padEnd(6, "0")))).toBe(amount);
    }
    expect(termsOf(await unpaid()).accepts[0]?.["amount"]).toBe(amount);
  });

  test("9. amounts are whole numbers of atomic units", async () => {
    for (const { amount: said } of [...termsOf(await unpaid()).accepts, ...(await listed()).accepts]) {
      expect(said).toMatch(/^[1-9]\d*$/);
    }
  });

  test("the header fits a proxy's buffer and carries a valid bazaar extension", async () => {
    const response = await unpaid();
    expect(response.headers.get("payment-required")?.length).toBeLessThan(PROXY_BUFFER_BYTES);
    const { bazaar } = termsOf(response).extensions as Record<
      string,
      DiscoveryExtension & Record<string, unknown>
    >;
    if (bazaar === undefined) throw new Error("no bazaar extension");
    expect(validateDiscoveryExtension(bazaar)).toMatchObject({ valid: true });
    expect(validateDiscoveryExtensionSpec(bazaar)).toMatchObject({ valid: true });
  });

  test("@agentcash/discovery has nothing to object to", async () => {
    const url = shop.url + path;
    const probes = (await getProbe(url))._unsafeUnwrap();
    const probe = probes.find((entry) => entry.method === method);
    expect(probe?.authHint).toBe("paid");
    const result = validatePaymentRequiredDetailed(probe?.paymentRequiredBody);
    expect(result).toMatchObject({ valid: true, version: 2, issues: [] });
    const checked = await checkEndpointSchema({ url, probe: true });
    if (!checked.found) throw new Error(checked.message);
    const advisory = checked.advisories.find((entry) => entry.method === method);
    expect(advisory).toMatchObject({
      authMode: "paid",
      paymentOptions: [{ protocol: "x402", version: 2, amount, payTo: shop.localnet.merchant }],
    });
  });
});

describe("4. a spoofed Host or X-Forwarded-Host changes no URL", () => {
  test.each([
    "/.well-known/x402",
    "/.well-known/x402.json",
    "/.well-known/api-catalog",
    "/openapi.json",
    "/llms.txt",
    "/robots.txt",
    "/report/7",
    "/v1/models",
    "/nothing/here",
  ])("%s", async (path) => {
    const spoofed = {
      host: "evil.example",
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "https",
      forwarded: "host=evil.example;proto=https",
    };
    const { text } = await rawGet(path, spoofed);
    expect(text).not.toContain("evil.example");
    const header = /"payment-required":"([^"]+)"/.exec(text)?.[1] ?? "";
    expect(Buffer.from(header, "base64").toString()).not.toContain("evil.example");
  });
});

test("@agentcash/discovery finds every route with its price, and the free ones", async () => {
  const found = await discoverOriginSchema({ target: shop.url, guidance: GuidanceMode.Always });
  if (!found.found) throw new Error(found.message);
  const paid = found.endpoints.filter((endpoint) => endpoint.authMode === "paid");
  expect(paid.map(({ resourceKey }) => resourceKey).toSorted()).toEqual(
    ROUTES.map(([method, path]) => `${shop.url} ${method} ${path.replace(":id", "{id}")}`).toSorted(),
  );
  for (const endpoint of paid) {
    const pricingMode = isCredit(endpoint.path) ? "dynamic" : "fixed";
    expect(endpoint).toMatchObject({ pricingMode, protocols: ["x402"] });
  }
  const source = (await getOpenAPI(shop.url))._unsafeUnwrap();
  if (source === null || isOpenApiParseFailure(source)) throw new Error(JSON.stringify(source));
  expect(getWarningsForOpenAPI(source)).toEqual([]);
});

test("an unknown well-known path is 404", async () => {
  expect((await fetch(`${shop.url}/.well-known/nothing-such`)).status).toBe(404);
});
