import {
  checkL2ForOpenAPI,
  discoverOriginSchema,
  GuidanceMode,
  getOpenAPI,
  getWarningsForL2,
  getWarningsForOpenAPI,
  isOpenApiParseFailure,
} from "@agentcash/discovery";
import type { Router } from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createAccountApi } from "../../server/account/account-api.ts";
import { ACCOUNT_OPERATIONS } from "../../well-known/account-operations.ts";
import { openApiDocument } from "../../well-known/openapi.ts";
import { bracePath } from "../../well-known/route-template.ts";
import { type Browser, type Gate, gateAt } from "../account/account-world.ts";
import { openReceiver, type Receiver } from "../alerts/alert-stand.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openReceiptShop } from "../receipts/receipt-stand.ts";
import { type Buyer, createBuyer, post } from "../support/buyer.ts";
import { FREE, PUBLISHED, published, SERVICE } from "./stand.ts";

const COOKIES = { session: "__Host-farebox_session", refresh: "__Host-farebox_refresh" };

interface Operation {
  readonly operationId: string;
  readonly security: readonly Record<string, readonly string[]>[];
  readonly parameters?: readonly { name: string; in: string }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: object }> };
  readonly responses: Record<string, { readonly content: Record<string, { readonly schema: object }> }>;
}

interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components?: {
    readonly schemas?: Record<string, object>;
    readonly securitySchemes: Record<string, { readonly name?: string }>;
  };
}

// The documents are JSON of our own making.
const made = (...args: Parameters<typeof openApiDocument>) =>
  JSON.parse(JSON.stringify(openApiDocument(...args))) as Document;

const listed = (document: Document): readonly string[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
  );

const documented = ACCOUNT_OPERATIONS.map(({ method, path }) => `${method} ${bracePath(path)}`);

describe("the document", () => {
  const without = made(SERVICE, PUBLISHED, FREE);
  const withAccount = made(SERVICE, PUBLISHED, FREE, COOKIES);

  it("has no word of accounts where there are none", () => {
    expect(JSON.stringify(without)).not.toMatch(/\/account|\/auth|siwx/);
  });

  it("has all of them where there are, and what is sold is as without", () => {
    expect(listed(withAccount)).toEqual(
      [...listed(without), ...new Set(documented)].sort(byPlace(withAccount)),
    );
    for (const [path, item] of Object.entries(without.paths)) expect(withAccount.paths[path]).toEqual(item);
  });

  it("never lists more than 40 operations, and what is sold before all", () => {
    const many = Array.from({ length: 30 }, (_, nth) => published({ path: `/r${nth}` }));
    const paths = listed(made(SERVICE, many, FREE, COOKIES));
    expect(paths).toHaveLength(40);
    expect(paths.filter((each) => /\/r\d+$/.test(each))).toHaveLength(30);
    expect(paths).toContain("POST /auth/challenge");
    expect(paths).toContain("POST /account/keys");
    const crowded = Array.from({ length: 60 }, (_, nth) => published({ path: `/r${nth}` }));
    expect(listed(made(SERVICE, crowded, FREE, COOKIES))).toHaveLength(62);
  });

  it("has operation ids that differ, and refers to nothing that is not there", () => {
    const ids = Object.values(withAccount.paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    const refs = [...JSON.stringify(withAccount).matchAll(/#\/components\/schemas\/(\w+)/g)];
    const names = new Set(refs.map(([, name = ""]) => name));
    expect([...names].sort()).toEqual(Object.keys(withAccount.components?.schemas ?? {}).sort());
  });

  it("asks for a proof, or for a session and for changes its token too", () => {
    const security = (method: string, path: string) => withAccount.paths[path]?.[method]?.security;
    expect(security("get", "/account")).toEqual([{ siwx: [] }, { session: [] }]);
    expect(security("post", "/account/keys")).toEqual([{ siwx: [] }, { session: [], csrf: [] }]);
    expect(security("post", "/auth/challenge")).toEqual([]);
    expect(security("post", "/auth/logout")).toEqual([{ session: [], csrf: [] }]);
    expect(security("post", "/auth/refresh")).toEqual([{ refresh: [] }]);
    for (const { method, path } of ACCOUNT_OPERATIONS) {
      const operation = withAccount.paths[bracePath(path)]?.[method.toLowerCase()];
      expect(operation).not.toHaveProperty("x-payment-info");
      expect(Object.keys(operation?.responses ?? {})).not.toContain("402");
    }
  });
});

/** As paths and methods come in the document. */
function byPlace(document: Document): (a: string, b: string) => number {
  const order = listed(document);
  return (a, b) => order.indexOf(a) - order.indexOf(b);
}

/** Every route of an Express router, as the documents write it. */
function routesOf(router: Router): readonly string[] {
  return router.stack.flatMap(({ route }) => {
    if (route === undefined) return [];
    const methods = route.stack.map(({ method }) => method);
    return [...new Set(methods)].map((method) => `${method.toUpperCase()} ${bracePath(route.path)}`);
  });
}

it("documents every route of the account API, and no other", () => {
  // Nothing is asked of its parts until a request comes.
  const router = createAccountApi({ callers: {} } as never);
  expect([...documented].sort()).toEqual([...routesOf(router)].sort());
});

describe("of a live gateway", () => {
  let shop: KeyedShop;
  let gate: Gate;
  let buyer: Buyer;
  let browser: Browser;
  let receiver: Receiver;
  let document: Document;
  beforeAll(async () => {
    shop = await openReceiptShop({
      env: { FAREBOX_MASTER_KEY: Buffer.alloc(32, 7).toString("hex"), UPSTREAM_API_KEY: "sk-operator" },
    });
    gate = gateAt(shop.url, shop.config);
    buyer = await createBuyer(shop);
    browser = await gate.signIn(buyer.signer);
    receiver = await openReceiver();
    document = (await (await fetch(`${shop.url}/openapi.json`)).json()) as Document;
  });
  afterAll(async () => {
    await receiver.close();
    await shop.close();
  });

  /** A schema of the document as zod's, what it refers to written out. */
  function schemaOf(schema: object): z.ZodType {
    const inline = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(inline);
      if (typeof value !== "object" || value === null) return value;
      if ("$ref" in value) {
        return inline(document.components?.schemas?.[String(value.$ref).split("/").at(-1) ?? ""]);
      }
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, inline(inner)]));
    };
    return z.fromJSONSchema(inline(schema) as never);
  }

  /** The answer of one documented operation fits its schema, and the body that was sent fits its. */
  async function expectTrue(method: string, path: string, options: { id?: string; body?: unknown } = {}) {
    const operation = document.paths[path]?.[method.toLowerCase()];
    if (operation === undefined) throw new Error(`${method} ${path} is not documented`);
    const { id = "", body } = options;
    const reply = await browser.call(method, path.replace(/\{\w+\}/, id), { body });
    const [status = ""] = Object.keys(operation.responses);
    expect([reply.status, reply.text]).toEqual([Number(status), expect.any(String)]);
    const { schema } = operation.responses[status]?.content["application/json"] ?? {};
    if (schema === undefined) throw new Error("no schema");
    expect(schemaOf(schema).safeParse(reply.json).error?.issues ?? []).toEqual([]);
    const asked = operation.requestBody?.content["application/json"]?.schema;
    if (body !== undefined) expect(schemaOf(asked ?? {}).safeParse(body).error?.issues ?? []).toEqual([]);
    seen.add(`${method} ${path}`);
    return reply.json;
  }
  const seen = new Set<string>();

  it("every answer is as the document says", async () => {
    const { address } = buyer;
    await (await buyer.fetch(`${shop.url}/topup`, post({ amount: "0.50" }))).text();
    await (await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }))).text();
    await expectTrue("POST", "/auth/challenge", { body: { address } });
    await expectTrue("GET", "/auth/session");
    await expectTrue("POST", "/auth/verify", { body: await gate.proof(buyer.signer) });
    await expectTrue("GET", "/account");
    const made = await expectTrue("POST", "/account/keys", {
      body: {
        label: "agent",
        limit: "0.01",
        limit_reset: "daily",
        models: ["flat-test"],
        rpm: 10,
        expires_at: "30d",
      },
    });
    const id = String(made["id"]);
    await expectTrue("PATCH", "/account/keys/{id}", { id, body: { label: "new", rpm: null } });
    const alerts = { low_balance: "0.495", key_limit_80: true, key_limit_100: true };
    await expectTrue("PUT", "/account/alerts", {
      body: { ...alerts, webhook: { url: "https://localhost/hook" } },
    });
    const call = await fetch(`${shop.url}/v1/chat/completions`, {
      ...post({ model: "flat-test", messages: [{ role: "user", content: "Hi" }] }),
      headers: { "content-type": "application/json", authorization: `Bearer ${String(made["key"])}` },
    });
    expect(call.status).toBe(200);
    await call.text();
    await expect
      .poll(async () => (await browser.call("GET", "/account/usage")).json["usage"])
      .toHaveLength(3);
    for (const path of ["/account/usage", "/account/journal", "/account/topups", "/account/keys"]) {
      const [list] = Object.values(await expectTrue("GET", path));
      expect(list, path).not.toEqual([]);
    }
    const { keys, models } = await expectTrue("GET", "/account/spend");
    expect([keys, models]).toMatchObject([
      [{}, {}],
      [{}, {}],
    ]);
    await expectTrue("POST", "/account/rpc", {
      body: { jsonrpc: "2.0", id: 1, method: "getLatestBlockhash", params: [] },
    });
    const { alerts: recent } = await expectTrue("GET", "/account/alerts/recent");
    expect(recent).toHaveLength(3);
    await expectTrue("GET", "/account/alerts");
    await expectTrue("POST", "/account/alerts/webhook/rotate");
    await expectTrue("POST", "/account/alerts/test");
    await expectTrue("DELETE", "/account/alerts");
    await expectTrue("POST", "/account/keys/{id}/rotate", { id, body: { grace: "1h" } });
    await expectTrue("GET", "/account/keys/{id}", { id });
    await expectTrue("DELETE", "/account/keys/{id}", { id });
    const own = { id: "default", body: { secret: "sk-own-upstream-key" } };
    await expectTrue("PUT", "/account/provider-keys/{provider}", own);
    await expectTrue("GET", "/account/provider-keys");
    await expectTrue("GET", "/account/provider-keys/{provider}", { id: "default" });
    await expectTrue("DELETE", "/account/provider-keys/{provider}", { id: "default" });
    await expectTrue("POST", "/auth/refresh");
    browser = await gate.signIn(buyer.signer);
    await expectTrue("POST", "/auth/logout");
    browser = await gate.signIn(buyer.signer);
    await expectTrue("POST", "/auth/logout-everywhere");
    expect([...seen].sort()).toEqual([...documented].sort());
  });

  it("names the cookies and headers that are used", () => {
    const names = Object.values(document.components?.securitySchemes ?? {}).map(({ name }) => name);
    expect(names).toEqual(["SIGN-IN-WITH-X", expect.any(String), "X-CSRF-Token", expect.any(String)]);
    expect([names[1], names[3]]).toEqual(Object.keys(browser.cookies));
  });

  it("is audited without a word; agents are told that a wallet signs in, and pay for nothing there", async () => {
    const found = (await getOpenAPI(shop.url))._unsafeUnwrap();
    if (found === null || isOpenApiParseFailure(found)) throw new Error(JSON.stringify(found));
    expect(getWarningsForOpenAPI(found)).toEqual([]);
    // What models by the token cost has no bounds: that is said of what is sold, with and without accounts.
    const warnings = getWarningsForL2(checkL2ForOpenAPI(found));
    expect(warnings.filter(({ code }) => code !== "L2_DYNAMIC_PRICE_INCOMPLETE")).toEqual([]);
    const { endpoints } = (await discoverOriginSchema({
      target: shop.url,
      guidance: GuidanceMode.Always,
    })) as { endpoints: { path: string; method: string; authMode?: string; price?: string }[] };
    const own = endpoints.filter(({ path }) => /^\/(?:account|auth)/.test(path));
    expect(own).toHaveLength(ACCOUNT_OPERATIONS.length);
    for (const { path, method, authMode, price } of own) {
      const isOpen = ["/auth/challenge", "/auth/verify"].includes(path);
      expect([method, path, authMode, price]).toEqual([
        method,
        path,
        isOpen ? "unprotected" : "siwx",
        undefined,
      ]);
    }
    const x402 = (await (await fetch(`${shop.url}/.well-known/x402`)).json()) as { resources: string[] };
    expect(x402.resources.some((url) => /\/(?:account|auth)/.test(url))).toBe(false);
  });
});

it("without a session key a live gateway's document has none of it", async () => {
  const shop = await openReceiptShop({ env: { FAREBOX_SESSION_KEY: "" } });
  const text = await (await fetch(`${shop.url}/openapi.json`)).text();
  await shop.close();
  expect(text).not.toMatch(/\/account|\/auth\/|siwx/);
});
