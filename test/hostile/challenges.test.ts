import { decodePaymentRequiredHeader } from "@x402/core/http";
import type { PaymentRequired } from "@x402/core/types";
import { x402Client, x402HTTPClient } from "@x402/fetch";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Challenge, createChallenges } from "../../server/payment/challenge.ts";
import { requirementsFor, requirementsV1For, type Terms } from "../../server/payment/terms.ts";
import { createTokenMint } from "../../server/payment/token.ts";
import type { Route } from "../../server/routes.ts";
import { USDC } from "../client/stand-in-rpc.ts";
import { type OpenGateway, openGateway } from "./open-gateway.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { FEE_PAYER, MERCHANT, PUBLIC_URL, SECRET } from "./stall.ts";

const MAX_HEADER_BYTES = 4_096;
const NAME_BYTES = "PAYMENT-REQUIRED: \r\n".length;

const TERMS: Terms = {
  network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
  networkV1: "solana",
  asset: USDC,
  payTo: MERCHANT,
  maxTimeoutSeconds: 60,
  feePayer: FEE_PAYER,
  feePayerV1: FEE_PAYER,
};

function routeOf(description: string, path = "/report/:id"): Route {
  return {
    method: "GET",
    path,
    price: 20_000n,
    tiers: ["x402"],
    settle: "after",
    dialect: "openai",
    target: { kind: "handler" },
    description,
    mimeType: "application/json",
    tags: [],
    input: {},
  };
}

const mint = createTokenMint({ secrets: [SECRET], ttlMs: 300_000, clock: Date.now });

function resource(route: Route) {
  return { url: "https://replaced.example", description: route.description, mimeType: route.mimeType };
}

function extensions(route: Route) {
  return { note: { about: route.description, more: ["ä", "\u2028", 1] } };
}

function challengesOf(v1: boolean, tokens: Pick<typeof mint, "issue" | "tokenLength" | "memoLength"> = mint) {
  const terms = { current: () => TERMS, knowsFeePayer: () => true };
  return createChallenges({
    assets: { current: () => [] },
    ...{ terms, tokens, publicUrl: PUBLIC_URL, resource, extensions, v1 },
    headers: ["Access-Control-Allow-Origin", "*"],
  });
}

function headerOf(challenge: Challenge | undefined, name: string): string {
  const headers = challenge?.headers ?? [];
  return headers[headers.indexOf(name) + 1] ?? "";
}

function headerText(challenge: Challenge | undefined): string {
  return Buffer.from(headerOf(challenge, "PAYMENT-REQUIRED"), "base64").toString("utf8");
}

/** The terms are encoded anew unless the mint is asked with the object that it was asked with before. */
function countKept(calls: readonly (readonly [Route, string])[]): number {
  const asked: object[] = [];
  const tokens = {
    ...mint,
    issue(binding: Parameters<typeof mint.issue>[0]) {
      asked.push(binding);
      return mint.issue(binding);
    },
  };
  const challenges = challengesOf(true, tokens);
  for (const [route, path] of calls) challenges.make(route, path);
  const first = new Set(asked.splice(0));
  for (const [route, path] of calls) challenges.make(route, path);
  return asked.filter((binding) => first.has(binding)).length;
}

/** The v2 document as one would write it without any haste. */
function naive(route: Route, path: string, token: unknown, memo: unknown) {
  const offer = requirementsFor(route, TERMS);
  return {
    x402Version: 2,
    error: "payment_required",
    resource: { ...resource(route), url: PUBLIC_URL + path },
    accepts: [{ ...offer, extra: { ...offer.extra, token, memo } }],
    extensions: extensions(route),
  };
}

function naiveV1(route: Route, path: string, memo: unknown) {
  const offer = requirementsV1For(route, TERMS, FEE_PAYER, PUBLIC_URL + path);
  return {
    x402Version: 1,
    error: "payment_required",
    accepts: [{ ...offer, extra: { ...offer.extra, memo } }],
  };
}

/** What is in one text beyond the other; undefined if the other is not within it in order. */
function surplus(text: string, within: string): string | undefined {
  let more = "";
  let at = 0;
  for (const character of text) {
    if (within.startsWith(character, at)) at += character.length;
    else more += character;
  }
  return at === within.length ? more : undefined;
}

const description = fc.string({ unit: "binary", maxLength: 120 });
const path = fc
  .array(
    fc.constantFrom("a", "%61", '"', "\\", "\\u0001", '"\\u0001"', "\\\\u0001", "/", "'", "{", "<", "&"),
    {
      maxLength: 40,
    },
  )
  .map((parts) => `/report/${parts.join("")}`);

describe("a challenge", () => {
  test("is what a naive encoding of the same document gives, but for blanks", () => {
    const [both, only] = [challengesOf(true), challengesOf(false)];
    fc.assert(
      fc.property(description, path, (text, at) => {
        const route = routeOf(text);
        const made = both.make(route, at);
        const json = headerText(made);
        const { token, memo } =
          decodePaymentRequiredHeader(headerOf(made, "PAYMENT-REQUIRED")).accepts[0]?.extra ?? {};
        expect(mint.check(String(token), String(memo), { ...boundTo(route, at) })).toEqual({
          ok: true,
          expired: false,
        });
        const expected = naive(route, at, token, memo);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(expected)));
        expect(surplus(json, JSON.stringify(expected))).toMatch(/^ {0,4}$/);
        const body = Buffer.from(made?.body ?? "", "latin1");
        expect(body.length).toBe(Number(headerOf(made, "Content-Length")));
        expect(body.toString("utf8")).toBe(JSON.stringify(naiveV1(route, at, `v1:${memo}`)));
        const v2Only = only.make(route, at);
        const v2Body = Buffer.from(v2Only?.body ?? "", "latin1");
        expect(v2Body.length).toBe(Number(headerOf(v2Only, "Content-Length")));
        expect(v2Body.toString("utf8")).toBe(headerText(v2Only));
      }),
      { numRuns: 500 },
    );
  });

  test("10,000 of them have 10,000 tokens and memos, and differ in nothing else", () => {
    const challenges = challengesOf(true);
    const route = routeOf("Größe: 8 €");
    const seen = new Set<unknown>();
    const rest = new Set<string>();
    for (let count = 0; count < 10_000; count += 1) {
      const document = JSON.parse(headerText(challenges.make(route, "/report/1")));
      const { token, memo } = document.accepts[0].extra;
      seen.add(token).add(memo);
      document.accepts[0].extra = {};
      rest.add(JSON.stringify(document));
    }
    expect(seen.size).toBe(20_000);
    expect(rest.size).toBe(1);
  });

  test("names the code of a refused payment", () => {
    const made = challengesOf(true).make(routeOf("A report"), "/report/1", "payment_expired");
    expect(JSON.parse(headerText(made)).error).toBe("payment_expired");
    expect(JSON.parse(made?.body ?? "").error).toBe("payment_expired");
  });

  test("does not grow with the path that the caller made up", () => {
    const challenges = challengesOf(true);
    const long = challenges.make(routeOf("A report"), `/report/${'"'.repeat(10_000)}`);
    expect(JSON.parse(headerText(long)).resource.url).toBe(`${PUBLIC_URL}/report/:id`);
    const worst = challenges.make(routeOf("A report"), `/report/${'"'.repeat(248)}`);
    expect(headerOf(worst, "PAYMENT-REQUIRED").length).toBeLessThan(
      headerOf(long, "PAYMENT-REQUIRED").length + 800,
    );
  });
});

function boundTo(route: Route, at: string) {
  return { method: route.method, path: at, amount: route.price.toString(), payTo: MERCHANT };
}

const YAML = `
routes:
  "GET /report/:id":
    upstream: default
    price: "$0.01"
    description: "${"Bericht über Größen in € ".repeat(20).trim()}"
    input: { type: object, properties: { größe: { type: string, description: "${"ü".repeat(400)}" } } }
    output: { text: "${"日本".repeat(200)}" }
  "PUT /files/*path": { upstream: default, price: "$0.01", settle: upfront, description: "日本語の説明" }
`;

describe("over HTTP", () => {
  let gateway: OpenGateway;

  beforeAll(async () => {
    gateway = await openGateway(YAML);
  });

  afterAll(() => gateway.close());

  test("every route's fits into 4 KB, has the length it says, and is read by the official client", async () => {
    expect(gateway.config.routes).toHaveLength(11);
    for (const route of gateway.config.routes) {
      const target = route.path.replace("*path", "a/b").replace(":id", "1");
      const { text } = await rawRequest(gateway.port, requestBytes(route.method, target));
      const [head = "", body = ""] = text.split("\r\n\r\n");
      const headers = new Map(head.split("\r\n").map((line) => splitOnce(line.toLowerCase(), line)));
      const header = headers.get("payment-required") ?? "";
      expect([route.path, header.length + NAME_BYTES < MAX_HEADER_BYTES]).toEqual([route.path, true]);
      expect(body.length).toBe(Number(headers.get("content-length")));
      const client = new x402HTTPClient(new x402Client());
      const asked = client.getPaymentRequiredResponse((name) => headers.get(name.toLowerCase()));
      checkOffer(asked, route, target);
      const bodyJson = JSON.parse(Buffer.from(body, "latin1").toString("utf8"));
      // Credit is not sold under v1: the body is that of v2 too.
      if (route.target.kind === "credit") {
        expect(bodyJson).toEqual(asked);
        continue;
      }
      const envelope = client.getPaymentRequiredResponse(() => undefined, bodyJson);
      expect(envelope).toMatchObject({ x402Version: 1 });
      expect(envelope.accepts[0]).toMatchObject({
        maxAmountRequired: route.price.toString(),
        description: route.description,
        resource: PUBLIC_URL + target,
      });
    }
  });

  function checkOffer(asked: PaymentRequired, route: Route, target: string): void {
    const [offer, ...others] = asked.accepts;
    const { token, memo, ...extra } = offer?.extra ?? {};
    expect(others).toEqual([]);
    expect({ ...offer, extra }).toEqual(requirementsFor(route, TERMS));
    expect(token).toHaveLength(mint.tokenLength);
    expect(memo).toHaveLength(mint.memoLength);
    expect(asked.resource?.url).toBe(PUBLIC_URL + target);
    expect(asked.extensions).toHaveProperty("bazaar.info.input.method", route.method);
  }

  function splitOnce(lower: string, line: string): [string, string] {
    const at = line.indexOf(":");
    return [lower.slice(0, at), line.slice(at + 1).trim()];
  }
});

describe("what is kept of a 402", () => {
  const routes = Array.from({ length: 40 }, (_, index) => ({
    ...routeOf("A quote"),
    price: BigInt(index + 1),
  }));
  const paths = (count: number) => Array.from({ length: count }, (_, index) => `/report/${index}`);

  test("the same call is encoded once", () => {
    const calls = routes.flatMap((route) => paths(20).map((path) => [route, path] as const));
    expect(countKept(calls)).toBe(calls.length);
  });

  test("calls of which each has its own price and path are forgotten again", () => {
    const calls = routes.flatMap((route) => paths(100).map((path) => [route, path] as const));
    expect(countKept(calls)).toBeLessThanOrEqual(1_000);
  });
});
