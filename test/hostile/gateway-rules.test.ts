import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createForger, encode, v2 } from "./forger.ts";
import { type OpenGateway, openGateway } from "./open-gateway.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { PUBLIC_URL } from "./stall.ts";

const YAML = `
routes:
  "GET /report/:id": { upstream: default, price: "$0.01" }
  "POST /report/:id": { upstream: default, price: "$0.03" }
`;

let gateway: OpenGateway;

beforeAll(async () => {
  gateway = await openGateway(YAML);
});

afterAll(() => gateway.close());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly error: Record<string, unknown>;
}

async function ask(path: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(gateway.url + path, init);
  const text = await response.text();
  const parsed = text === "" ? {} : JSON.parse(text);
  return { status: response.status, headers: response.headers, text, error: parsed.error };
}

function nothingServed(): void {
  // `HEAD /` is how the health check asks whether the upstream is there.
  expect(gateway.upstream.calls.filter(({ path }) => path !== "/")).toEqual([]);
  expect(gateway.facilitator.calls).toMatchObject({ verify: 0, settle: 0 });
}

describe("a path or method that is not sold", () => {
  test.each([
    "/",
    "/nothing",
    "/agent/x",
    "/v1",
    "/v2/chat/completions",
    "/.well-known/nothing",
    "/report",
    "/report/1/2",
  ])("%s is a JSON 404", async (path) => {
    const { status, headers, error } = await ask(path, { headers: { accept: "text/html" } });
    expect(status).toBe(404);
    expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(error).toMatchObject({ type: "invalid_request_error", code: "not_found" });
  });

  test.each([
    ["GET", "/agent", "POST, OPTIONS"],
    ["PUT", "/v1/chat/completions", "POST, OPTIONS"],
    ["DELETE", "/report/1", "GET, POST, OPTIONS"],
    ["PATCH", "/REPORT/1/", "GET, POST, OPTIONS"],
  ])("%s %s is a JSON 405 that allows %s", async (method, path, allow) => {
    const { status, headers, error } = await ask(path, { method });
    expect(status).toBe(405);
    expect(headers.get("allow")).toBe(allow);
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(error).toMatchObject({ code: "method_not_allowed" });
  });

  test.each(["http://[::/agent", "http://x%00/agent", "/agent#x", "x://y/agent", "http://shop.example"])(
    "the target %s, which can be read in two ways, is a JSON 400",
    async (target) => {
      const { statuses, text } = await rawRequest(gateway.port, requestBytes("POST", target));
      expect(statuses).toEqual([400]);
      expect(text).toContain("application/json");
      expect(text).toContain('"code":"invalid_request"');
    },
  );

  test.each(["/%zz", "/report/%zz/x", "*"])("the target %s is a JSON 404", async (target) => {
    const { statuses, text } = await rawRequest(gateway.port, requestBytes("OPTIONS", target));
    expect(statuses).toEqual([404]);
    expect(text).toContain('"code":"not_found"');
  });
});

describe("CORS", () => {
  test.each(["/agent", "/v1/chat/completions", "/api/v1/embeddings", "/report/1"])(
    "a preflight of %s allows what the official clients send",
    async (path) => {
      const { status, headers, text } = await ask(path, {
        method: "OPTIONS",
        headers: {
          origin: "https://app.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "content-type,payment-signature,access-control-expose-headers",
        },
      });
      expect(status).toBe(204);
      expect(text).toBe("");
      expect(headers.get("access-control-allow-origin")).toBe("*");
      expect(headers.get("access-control-allow-methods")).toContain("POST");
      const allowed = headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
      for (const name of [
        "content-type",
        "payment-signature",
        "x-payment",
        "access-control-expose-headers",
      ]) {
        expect(allowed).toContain(name);
      }
      expect(allowed).not.toContain("authorization");
      expect(headers.get("access-control-allow-credentials")).toBeNull();
    },
  );

  test.each<[number, string, RequestInit]>([
    [402, "/agent", { method: "POST" }],
    [400, "/agent", { method: "POST", headers: { "PAYMENT-SIGNATURE": "junk" } }],
    [401, "/agent", { method: "POST", headers: { authorization: "Bearer junk" } }],
    [405, "/report/1", { method: "HEAD", headers: { "PAYMENT-SIGNATURE": "junk" } }],
  ])(
    "a %i of a priced route may be read from any origin, payment headers included",
    async (status, path, init) => {
      const answer = await ask(path, {
        ...init,
        headers: { ...init.headers, origin: "https://app.example" },
      });
      expect(answer.status).toBe(status);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      const exposed = answer.headers.get("access-control-expose-headers")?.split(", ");
      expect(exposed).toEqual(expect.arrayContaining(["PAYMENT-REQUIRED", "PAYMENT-RESPONSE"]));
      expect(answer.headers.get("cache-control")).toBe("private, no-store");
    },
  );
});

describe("credentials that are no payment", () => {
  test.each([
    "Bearer junk",
    "bearer junk",
    "BEARER",
    "Bearer sk-live-0123456789",
    "Bearer a.b.c",
    "Bearer a, Bearer b",
  ])("%s is 401 and says how to authenticate", async (authorization) => {
    for (const path of ["/agent", "/v1/chat/completions", "/report/1"]) {
      const { status, headers, error } = await ask(path, { method: "POST", headers: { authorization } });
      expect(status).toBe(401);
      expect(headers.get("www-authenticate")).toMatch(/^Bearer(?: error="invalid_token")?$/);
      expect(error).toMatchObject({ type: "authentication_error" });
    }
    nothingServed();
  });

  test.each(["Basic dXNlcjpwYXNz", "junk", "Bearerjunk x", "Token abc", ""])(
    "%j is asked to pay",
    async (authorization) => {
      const { status, headers } = await ask("/agent", { method: "POST", headers: { authorization } });
      expect(status).toBe(402);
      expect(headers.get("payment-required")).not.toBeNull();
      nothingServed();
    },
  );
});

describe("bodies", () => {
  const bodies: [string, string | Uint8Array | undefined][] = [
    ["no body", undefined],
    ["an empty body", ""],
    ["an invalid body", '{"prompt":'],
    ["a body of another type", "<xml/>"],
    ["10 MB", new Uint8Array(10_000_000)],
  ];

  test.each(bodies)("unpaid with %s is 402", async (_name, body) => {
    for (const path of ["/agent", "/v1/embeddings", "/report/1"]) {
      expect((await ask(path, { method: "POST", body: body ?? null })).status).toBe(402);
    }
    nothingServed();
  });

  test("paid with a body that cannot be served: refused before anything is claimed", async () => {
    const forger = await createForger(gateway.rpc.url);
    const url = `${gateway.url}/agent`;
    const payment = v2(await forger.sign(await forger.challenge(url, { method: "POST" })));
    for (const [body, status] of [
      ["", 400],
      ['{"prompt":', 400],
      ['{"prompt":"Hi","model":"none"}', 404],
      [new Uint8Array(1_048_577), 413],
    ] as const) {
      expect((await ask("/agent", { method: "POST", body, headers: payment })).status).toBe(status);
    }
    nothingServed();
  });
});

describe("the name of the host", () => {
  const EVIL = "evil.example";
  const spoofed = [
    ...[
      `Host: ${EVIL}`,
      `X-Forwarded-Host: ${EVIL}`,
      `X-Forwarded-Server: ${EVIL}`,
      `Forwarded: host=${EVIL}`,
    ],
    ...[
      `X-Host: ${EVIL}`,
      `X-Original-Host: ${EVIL}`,
      `Origin: https://${EVIL}`,
      `Referer: https://${EVIL}/`,
    ],
  ];

  test.each([
    ["POST", "/agent", 402],
    ["GET", "/report/1", 402],
    ["GET", `http://${EVIL}/report/1`, 402],
    ["GET", "/agent", 405],
    ["GET", "/nothing", 404],
    ["GET", "/.well-known/x402", 200],
    ["GET", "/.well-known/api-catalog", 200],
    ["GET", "/openapi.json", 200],
    ["GET", "/llms.txt", 200],
    ["GET", "/v1/models", 200],
    ["GET", "/readyz", 200],
  ])("%s %s never repeats it", async (method, path, status) => {
    const bytes = requestBytes(method, path, spoofed).replace("Host: shop.example\r\n", "");
    const { statuses, text } = await rawRequest(gateway.port, bytes);
    expect(statuses).toEqual([status]);
    const [, header = ""] = /^payment-required: (.*)$/im.exec(text) ?? [];
    const readable = text + Buffer.from(header, "base64").toString("utf8");
    expect(readable).not.toContain(EVIL);
    if (status === 402) expect(readable).toContain(`${PUBLIC_URL}/`);
  });
});

describe("dialects", () => {
  const POST = { method: "POST" };
  const BEARER = { ...POST, headers: { authorization: "Bearer junk" } };
  const JUNK = { ...POST, headers: { "PAYMENT-SIGNATURE": encode({ x402Version: 7 }) } };

  test.each<[string, RequestInit, number]>([
    ["/api/v1/chat/completions", BEARER, 401],
    ["/api/v1/chat/completions", JUNK, 400],
    ["/api/v1/chat/completions", {}, 405],
    ["/api/v1/nothing", {}, 404],
    ["/API/v1", {}, 404],
  ])("%s answers with a numeric code", async (path, init, status) => {
    const { error } = await ask(path, init);
    expect(error).toMatchObject({ code: status, message: expect.any(String), type: expect.any(String) });
  });

  test.each<[string, RequestInit, string]>([
    ["/v1/chat/completions", BEARER, "invalid_api_key"],
    ["/ai/chat/completions", JUNK, "unsupported_version"],
    ["/agent", {}, "method_not_allowed"],
    ["/api/v10/nothing", {}, "not_found"],
    ["/nothing", {}, "not_found"],
  ])("%s answers as OpenAI does", async (path, init, code) => {
    const { error } = await ask(path, init);
    expect(error).toMatchObject({ code, param: null, message: expect.any(String), type: expect.any(String) });
  });
});

test("HEAD of a sold GET is 402, and 405 with a payment", async () => {
  expect((await ask("/report/1", { method: "HEAD" })).status).toBe(402);
  const forger = await createForger(gateway.rpc.url);
  const payment = v2(await forger.sign(await forger.challenge(`${gateway.url}/report/1`)));
  const answer = await ask("/report/1", { method: "HEAD", headers: payment });
  expect(answer.status).toBe(405);
  expect(answer.headers.get("allow")).toBe("GET");
  nothingServed();
});
