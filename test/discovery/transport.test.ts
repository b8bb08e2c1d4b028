import { request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PublishedRoute } from "../../well-known/types.ts";
import { listen, published, type Stand, standApp, TERMS } from "./stand.ts";

const JSON_TYPE = "application/json; charset=utf-8";
const DOCUMENTS = [
  ["/.well-known/x402", JSON_TYPE],
  ["/.well-known/x402.json", JSON_TYPE],
  ["/openapi.json", JSON_TYPE],
  ["/.well-known/api-catalog", 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'],
  ["/llms.txt", "text/plain; charset=utf-8"],
  ["/robots.txt", "text/plain; charset=utf-8"],
  ["/favicon.svg", "image/svg+xml"],
] as const;

interface X402Document {
  readonly resources: readonly string[];
  readonly items: readonly { readonly accepts: readonly Record<string, unknown>[] }[];
}

let stand: Stand;
beforeAll(async () => {
  stand = await listen(standApp());
});
afterAll(() => stand.close());

const get = (path: string, init: RequestInit = {}) =>
  fetch(stand.url + path, { redirect: "manual", ...init });

/** fetch would not let us lie about Host. */
function getAs(path: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: stand.port, path, headers, agent: false }, (res) =>
      text(res).then(resolve, reject),
    )
      .on("error", reject)
      .end();
  });
}

describe.each(DOCUMENTS)("%s", (path, type) => {
  it("is free, direct, cacheable and open to any origin", async () => {
    const res = await get(path);
    expect(res.status).toBe(200);
    expect(res.headers.get("content-type")).toBe(type);
    expect(res.headers.get("access-control-allow-origin")).toBe("*");
    expect(res.headers.get("cache-control")).toBe("public, max-age=300");
    expect(res.headers.get("etag")).toMatch(/^"[\w-]{27}"$/);
    expect(Buffer.byteLength(await res.text())).toBeLessThan(256 * 1024);
  });

  it("answers 304 to a known ETag and 200 to another", async () => {
    const etag = (await get(path)).headers.get("etag") ?? "";
    for (const known of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const res = await get(path, { headers: { "if-none-match": known } });
      expect([known, res.status]).toEqual([known, 304]);
      expect(await res.text()).toBe("");
      expect(res.headers.get("etag")).toBe(etag);
      expect(res.headers.get("access-control-allow-origin")).toBe("*");
    }
    expect((await get(path, { headers: { "if-none-match": '"x"' } })).status).toBe(200);
  });

  it("answers HEAD with the head of GET", async () => {
    const body = await (await get(path)).arrayBuffer();
    const res = await get(path, { method: "HEAD" });
    expect(res.status).toBe(200);
    expect(res.headers.get("content-type")).toBe(type);
    expect(res.headers.get("content-length")).toBe(String(body.byteLength));
    expect(await res.text()).toBe("");
  });

  it("answers a preflight", async () => {
    const headers = { origin: "https://elsewhere.example", "access-control-request-method": "GET" };
    const res = await get(path, { method: "OPTIONS", headers });
    expect(res.status).toBe(204);
    expect(res.headers.get("access-control-allow-origin")).toBe("*");
    expect(res.headers.get("access-control-allow-methods")).toBe("GET, HEAD, OPTIONS");
    expect(res.headers.get("access-control-allow-headers")).toBe("*");
  });

  it.each(["POST", "PUT", "PATCH", "DELETE"])("refuses %s in JSON", async (method) => {
    const res = await get(path, { method });
    expect(res.status).toBe(405);
    expect(res.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
    expect(await res.json()).toMatchObject({ error: { code: "method_not_allowed" } });
  });

  it("takes no URL from the request", async () => {
    const honest = await getAs(path, {});
    const lies = {
      host: "evil.example",
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "gopher",
      forwarded: "host=evil.example;proto=gopher",
      "x-original-url": "https://evil.example/",
    };
    expect(await getAs(path, lies)).toBe(honest);
    expect(await getAs(`http://evil.example${path}`, lies)).toBe(honest);
    expect(honest).not.toContain("127.0.0.1");
  });

  it("gives a browser the same document", async () => {
    const headers = {
      accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
      "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
      "sec-fetch-mode": "navigate",
    };
    const res = await get(path, { headers });
    expect(res.headers.get("content-type")).toBe(type);
    expect(await res.text()).toBe(await (await get(path)).text());
  });
});

it("serves the same bytes under both names of the x402 document", async () => {
  const [plain, suffixed] = await Promise.all([get("/.well-known/x402"), get("/.well-known/x402.json")]);
  expect(await plain.text()).toBe(await suffixed.text());
  expect(plain.headers.get("etag")).toBe(suffixed.headers.get("etag"));
});

it("links the API catalog to itself, also for HEAD (RFC 9727 §2)", async () => {
  const res = await get("/.well-known/api-catalog", { method: "HEAD" });
  expect(res.headers.get("link")).toBe(
    '<https://api.example.com/.well-known/api-catalog>; rel="api-catalog"',
  );
});

it.each([
  "/.well-known/x402/",
  "/.well-known/X402",
  "/.well-known/x402x",
  "/.well-known/",
  "/.well-known/mpp",
  "/.well-known/a8f1c2",
  "/openapi.json/x",
  "/OPENAPI.JSON",
])("leaves %s to the app, which knows nothing of it", async (path) => {
  const res = await get(path);
  expect(res.status).toBe(404);
  expect(await res.json()).toMatchObject({ error: { code: "not_found" } });
});

describe("when terms change", () => {
  it("the documents follow, and only then", async () => {
    let routes: readonly PublishedRoute[] = [published({ feePayer: undefined })];
    let reads = 0;
    const observed = () => {
      reads += 1;
      return routes;
    };
    const own = await listen(standApp(observed));
    const read = async () => {
      const res = await fetch(`${own.url}/.well-known/x402`);
      return { etag: res.headers.get("etag"), document: (await res.json()) as X402Document };
    };
    try {
      const before = await read();
      expect(before.document.items[0]).not.toHaveProperty("accepts");

      routes = [published({ feePayer: undefined })];
      expect((await read()).etag).toBe(before.etag);

      routes = [published()];
      const known = await read();
      expect(known.document.items[0]?.accepts[0]?.["extra"]).toEqual({ feePayer: TERMS.feePayer });
      expect(known.etag).not.toBe(before.etag);

      routes = [published({ feePayer: "other" })];
      expect((await read()).document.items[0]?.accepts[0]?.["extra"]).toEqual({ feePayer: "other" });

      routes = [published({ amount: "30000", priceUsd: "0.03" }), published({ path: "/more" })];
      const grown = await read();
      expect(grown.document.resources).toHaveLength(2);
      expect(grown.document.items[0]?.accepts[0]?.["amount"]).toBe("30000");
      expect(reads).toBe(5);
    } finally {
      await own.close();
    }
  });

  it("an unchanged offer is not rendered again", async () => {
    let renders = 0;
    const input = {
      type: "object",
      toJSON() {
        renders += 1;
        return { type: "object" };
      },
    };
    const own = await listen(standApp(() => [published({ input })]));
    try {
      await (await fetch(`${own.url}/openapi.json`)).text();
      const first = renders;
      await (await fetch(`${own.url}/openapi.json`)).text();
      await (await fetch(`${own.url}/.well-known/x402`)).text();
      expect(first).toBeGreaterThan(0);
      expect(renders).toBe(first);
    } finally {
      await own.close();
    }
  });
});
