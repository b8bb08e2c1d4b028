import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { createRouteTable } from "../../server/route-table.ts";
import type { Route } from "../../server/routes.ts";

function route(name: string, price: bigint): Route {
  const [method = "", path = ""] = name.split(" ");
  return {
    method,
    path,
    price,
    tiers: ["x402"],
    settle: "after",
    dialect: "openai",
    target: { kind: "handler" },
    description: name,
    mimeType: "application/json",
    tags: [],
    input: {},
  };
}

function request(method: string, url: string): IncomingMessage {
  return { method, url } as IncomingMessage;
}

/** In the order in which an app declares them, as its router looks. */
const table = createRouteTable([
  route("GET /dear", 1_000_000n),
  route("GET /cheap/first", 1_000n),
  route("GET /:page", 10_000n),
  route("GET /cheap/:id", 500_000n),
  route("POST /cheap/:id/dear", 900_000n),
  route("POST /cheap/:id{/*rest}", 1_000n),
]);

describe("which route is charged when a path can be read in more than one way", () => {
  test.each<[string, string, string]>([
    ["as it is", "/dear", "GET /dear"],
    ["percent-encoded, which most servers decode", "/%64ear", "GET /dear"],
    ["with a parameter, which servlet containers cut", "/dear;x=1", "GET /dear"],
    ["with an encoded parameter", "/dear%3bx", "GET /dear"],
    ["with a query", "/dear?x=/cheap/first", "GET /dear"],
    ["with one slash more", "/dear//", "GET /dear"],
    ["in upper case", "/DEAR", "GET /dear"],
    ["in absolute form", "http://shop.example/dear", "GET /dear"],
    ["an encoded path that is not dearer", "/cheap/%66irst", "GET /cheap/:id"],
    ["an earlier route", "/cheap/first", "GET /cheap/first"],
    ["the same with a query", "/cheap/later?x", "GET /cheap/:id"],
  ])("%s", (_name, url, expected) => {
    const found = table.find(request("GET", url))?.route;
    expect(`${found?.method} ${found?.path}`).toBe(expected);
  });

  test("an encoded slash", () => {
    expect(table.find(request("POST", "/cheap/1%2Fdear"))?.route.price).toBe(900_000n);
    expect(table.methods(request("OPTIONS", "/cheap/1%2Fdear"))).toEqual(["GET", "POST"]);
  });

  test("the payment is bound to the path as it was written", () => {
    expect(table.find(request("GET", "/%64ear?x"))?.path).toBe("/%64ear");
    expect(table.find(request("GET", "http://shop.example/dear?x"))?.path).toBe("/dear");
  });
});

test.each([
  "/dear#x",
  "http://shop.example",
  "ftp://x/dear",
  "http://x?/dear",
  "dear",
  '/d"ear#',
  "//x/dear#",
])("%s cannot be priced, and is not", (url) => {
  expect(table.find(request("GET", url))).toBeUndefined();
  expect(table.methods(request("OPTIONS", url))).toEqual([]);
});

test.each([
  ["/a", "/A"],
  ["/a", "/a/"],
  ["/a/:id", "/A/:id/"],
])("%s and %s in one table are refused: which one is meant depends on the app's settings", (one, other) => {
  const routes = [route(`GET ${one}`, 1n), route(`GET ${other}`, 2n)];
  expect(() => createRouteTable(routes)).toThrow(/is the same route as/);
});

test.each([
  ["/a/:id", "/a/first"],
  ["/a/*rest", "/a/:id"],
  ["/a{/:b}", "/a"],
  ["/:x/:y", "/a/b/"],
])("%s takes all paths of %s, which would be sold at its price: refused", (one, other) => {
  const [wide, narrow] = [route(`GET ${one}`, 1n), route(`GET ${other}`, 2n)];
  expect(() => createRouteTable([wide, narrow])).toThrow(/is never reached/);
  createRouteTable([narrow, wide]);
  createRouteTable([wide, route(`POST ${other}`, 2n)]);
});

test("a route that is reached by some of its paths stays", () => {
  createRouteTable([route("GET /a/:id", 1n), route("GET /a{/:b}", 2n), route("GET /a/*rest", 3n)]);
});
