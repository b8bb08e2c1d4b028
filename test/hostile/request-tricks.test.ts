import express, { type RequestHandler } from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { targetsNear } from "./hostile-targets.ts";
import { type OpenGateway, openGateway } from "./open-gateway.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { openStall, type Stall } from "./stall.ts";

const ROUTES = `
routes:
  "GET /report/:id": { upstream: default, price: "$0.01" }
  "GET /files/*path": { upstream: default, price: "$0.01" }
  "POST /orders": { upstream: default, price: "$0.01" }
`;

/** Answers that give nothing away. */
const HARMLESS = new Set([100, 204, 400, 401, 402, 404, 405, 411, 413, 417, 431, 501]);

let gateway: OpenGateway;
let stall: Stall;

beforeAll(async () => {
  gateway = await openGateway(ROUTES);
  stall = await openStall("/report/1", (paywall, ran) => {
    const app = express();
    const guard = paywall({ price: "$0.02" }) as RequestHandler;
    const handler: RequestHandler = (req, res) => {
      ran.push(`${req.method} ${req.originalUrl}`);
      res.end("sold");
    };
    app.get("/report/:id", guard, handler);
    app.get("/files/*path", guard, handler);
    app.post("/orders", guard, handler);
    app.all("/agent", guard, handler);
    return app;
  });
});

afterAll(async () => {
  await gateway.close();
  await stall.close();
});

/** Sends the bytes to the gateway and to the Express app: neither serves, fails, or asks anybody. */
async function tryBoth(bytes: string): Promise<readonly (readonly number[])[]> {
  const answers = await Promise.all([rawRequest(gateway.port, bytes), rawRequest(stall.port, bytes)]);
  expect(gateway.upstream.calls).toEqual([]);
  expect(stall.ran).toEqual([]);
  const statuses = answers.map((answer) => answer.statuses);
  // Express itself answers OPTIONS, with the list of methods.
  const harmless = bytes.startsWith("OPTIONS ") ? new Set([...HARMLESS, 200]) : HARMLESS;
  expect(statuses.flat().filter((status) => !harmless.has(status))).toEqual([]);
  return statuses;
}

function lines(...all: string[]): string {
  return `${all.join("\r\n")}\r\n\r\n`;
}

describe("a request without a payment", () => {
  test.each<[string, string, number]>([
    ["HEAD", requestBytes("HEAD", "/report/1"), 402],
    ["a query", requestBytes("GET", "/report/1?paid=true"), 402],
    ["only a question mark", requestBytes("GET", "/report/1?"), 402],
    ["upper case", requestBytes("GET", "/REPORT/1"), 402],
    ["a trailing slash", requestBytes("GET", "/report/1/"), 402],
    ["an encoded slash", requestBytes("GET", "/report/1%2f2"), 402],
    ["an encoded dot segment", requestBytes("GET", "/report/%2e%2e"), 402],
    ["an encoded null", requestBytes("GET", "/report/1%00"), 402],
    ["a parameter", requestBytes("GET", "/report/1;paid=1"), 402],
    ["a backslash", requestBytes("GET", "/report/1\\"), 402],
    ["an absolute form", requestBytes("GET", "http://shop.example/report/1"), 402],
    ["another host's absolute form", requestBytes("GET", "http://evil.example:81/report/1"), 402],
    [
      "a method override",
      requestBytes("HEAD", "/report/1", [
        "X-HTTP-Method-Override: GET",
        "X-HTTP-Method: GET",
        "X-Method-Override: GET",
      ]),
      402,
    ],
    [
      "a URL override",
      requestBytes("GET", "/report/1", ["X-Original-URL: /healthz", "X-Rewrite-URL: /healthz"]),
      402,
    ],
    [
      "an upgrade to a socket",
      requestBytes("GET", "/report/1", ["Connection: Upgrade", "Upgrade: websocket"]),
      402,
    ],
    ["an upgrade to HTTP/2", requestBytes("GET", "/report/1", ["Connection: Upgrade", "Upgrade: h2c"]), 402],
    ["HTTP/1.0", lines("GET /report/1 HTTP/1.0"), 402],
    ["a body on GET", requestBytes("GET", "/report/1", ["Content-Length: 4"]).concat("paid"), 402],
    ["a Range", requestBytes("GET", "/report/1", ["Range: bytes=0-10"]), 402],
    ["a conditional", requestBytes("GET", "/report/1", ["If-None-Match: *"]), 402],
    ["a forged proof", requestBytes("GET", "/report/1", ["PAYMENT-RESPONSE: eyJzdWNjZXNzIjp0cnVlfQ=="]), 402],
    ["an empty bearer", requestBytes("GET", "/report/1", ["Authorization: Bearer"]), 401],
  ])("%s is refused by both alike", async (_name, bytes, status) => {
    expect(await tryBoth(bytes)).toEqual([[status], [status]]);
  });

  test.each<[string, string]>([
    ["two slashes in front", requestBytes("GET", "//report/1")],
    ["two slashes within", requestBytes("GET", "/report//1")],
    ["two slashes behind", requestBytes("GET", "/report/1//")],
    ["a dot segment", requestBytes("GET", "/x/../report/1")],
    ["an encoded dot segment in front", requestBytes("GET", "/%2e%2e/report/1")],
    ["a fragment", requestBytes("GET", "/report/1#x")],
    ["a fragment that hides the path", requestBytes("GET", "/nothing#/../report/1")],
    ["a query that hides the path", requestBytes("GET", "/?/../report/1")],
    ["a letter encoded", requestBytes("GET", "/%72eport/1")],
    ["an overlong slash", requestBytes("GET", "/report/1%c0%af")],
    ["a full-width slash", requestBytes("GET", "/report%ef%bc%8f1")],
    ["raw bytes", requestBytes("GET", "/report/\xc3\xa4")],
    ["a raw null", requestBytes("GET", "/report/1\0")],
    ["a blank in the path", requestBytes("GET", "/report/1 2")],
    ["a tab before the path", lines("GET\t/report/1 HTTP/1.1", "Host: x", "Connection: close")],
    ["no version", "GET /report/1\r\n\r\n"],
    ["an absolute form without a path", requestBytes("GET", "http://shop.example")],
    ["an absolute form that is no URL", requestBytes("GET", "http://[::/report/1")],
    ["another scheme", requestBytes("GET", "file:///report/1")],
    ["OPTIONS of everything", requestBytes("OPTIONS", "*")],
    ["GET of everything", requestBytes("GET", "*")],
    ["a lower-case method", requestBytes("get", "/report/1")],
    ["an unknown method", requestBytes("PAY", "/report/1")],
    ["PROPFIND", requestBytes("PROPFIND", "/report/1")],
    ["TRACE", requestBytes("TRACE", "/report/1")],
    ["PUT", requestBytes("PUT", "/orders", ["Content-Length: 0"])],
    ["CONNECT", requestBytes("CONNECT", "/report/1")],
    ["no Host", lines("GET /report/1 HTTP/1.1", "Connection: close")],
    ["two lengths", requestBytes("POST", "/orders", ["Content-Length: 1", "Content-Length: 2"]).concat("ab")],
    [
      "a length and chunks",
      requestBytes("POST", "/orders", ["Content-Length: 5", "Transfer-Encoding: chunked"]),
    ],
    ["another expectation", requestBytes("POST", "/orders", ["Expect: a-gift", "Content-Length: 0"])],
    ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["no HTTP at all", "\x16\x03\x01\0\xa5\x01\0\r\n\r\n"],
  ])("%s is never served", async (_name, bytes) => {
    await tryBoth(bytes);
  });

  test("Expect: 100-continue is told to go on, and then to pay", async () => {
    const bytes = requestBytes("POST", "/orders", ["Expect: 100-continue", "Content-Length: 2"]);
    expect(await tryBoth(`${bytes}{}`)).toEqual([
      [100, 402],
      [100, 402],
    ]);
  });

  test("pipelined requests are each asked to pay, also the one hidden in the body of another", async () => {
    const open = lines("GET /report/1 HTTP/1.1", "Host: x");
    const inner = requestBytes("GET", "/report/3");
    const hiding = `${lines("POST /orders HTTP/1.1", "Host: x", `Content-Length: ${open.length}`)}${open}`;
    const expected = [402, 402, 402, 402];
    expect(await tryBoth(open + hiding + open + inner)).toEqual([expected, expected]);
  });
});

describe("any verb at any path, without a payment", () => {
  const verb = fc.constantFrom(
    ...["GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"],
  );
  const target = targetsNear([
    ...[
      "/report/1",
      "/files/a/b",
      "/agent",
      "/orders",
      "/v1/chat/completions",
      "/api/v1/embeddings",
      "/ai/embeddings",
    ],
  ]);
  const header = fc.constantFrom(
    ...[
      "X-HTTP-Method-Override: GET",
      "X-Original-URL: /agent",
      "Upgrade: websocket",
      "Authorization: Bearer x",
    ],
    ...["X-Forwarded-Host: evil.example", "If-None-Match: *", "Range: bytes=0-1", "TE: trailers", "X-A: b"],
  );

  test("runs nothing", async () => {
    const requests = fc.array(fc.tuple(verb, target, header), { minLength: 20, maxLength: 20 });
    let priced = 0;
    await fc.assert(
      fc.asyncProperty(requests, async (all) => {
        const tried = all.map(([method, text, more]) => tryBoth(requestBytes(method, text, [more])));
        priced += (await Promise.all(tried)).flat(2).filter((status) => status === 402).length;
      }),
      { numRuns: 100, endOnFailure: true },
    );
    expect(priced).toBeGreaterThan(50);
    expect(gateway.facilitator.calls.verify + stall.facilitator.calls.verify).toBe(0);
  });
});
