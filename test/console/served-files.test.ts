import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { builtConsole } from "../../server/console/console-files.ts";
import { SESSION_KEY } from "../account/account-world.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { ask, type BuiltConsole, buildConsole, INDEX, NAVIGATION, SECRET } from "./console-stand.ts";

const env = { FAREBOX_SESSION_KEY: SESSION_KEY };
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

let built: BuiltConsole;
let shop: Shop;
beforeAll(async () => {
  built = await buildConsole();
  shop = await openShop({ env, consoleDirectory: built.directory });
});
afterAll(async () => {
  await shop.close();
  await built.remove();
});

function code(text: string): unknown {
  return (JSON.parse(text) as { error: { code: string } }).error.code;
}

describe("what is there", () => {
  test.each<[path: string, type: string, cache: string]>([
    ["/console", "text/html; charset=utf-8", "no-store"],
    ["/console/", "text/html; charset=utf-8", "no-store"],
    ["/console/index.html", "text/html; charset=utf-8", "no-store"],
    ["/console/assets/../index.html", "text/html; charset=utf-8", "no-store"],
    [
      "/console/assets/index-4f2a.js",
      "text/javascript; charset=utf-8",
      "public, max-age=31536000, immutable",
    ],
    ["/console/icon.svg", "image/svg+xml", "no-cache"],
    ["/console/config.json", "application/json; charset=utf-8", "no-store"],
  ])("%s is served, and kept as long as it may be", async (path, type, cache) => {
    const reply = await ask(shop.url, path);
    expect([reply.status, reply.headers["content-type"], reply.headers["cache-control"]]).toEqual([
      200,
      type,
      cache,
    ]);
    const head = await ask(shop.url, path, { method: "HEAD" });
    expect([head.status, head.text, head.headers["content-length"]]).toEqual([
      200,
      "",
      String(Buffer.byteLength(reply.text)),
    ]);
  });

  test.each(["/console/keys", "/console/keys/key_01ab/", "/console/top-up?token=USDC"])(
    "%s is a screen: a browser that goes there gets the page",
    async (path) => {
      const page = await ask(shop.url, path, { headers: NAVIGATION });
      expect([page.status, page.text, page.headers["cache-control"]]).toEqual([200, INDEX, "no-store"]);
      const data = await ask(shop.url, path, { headers: { accept: "*/*" } });
      expect([data.status, code(data.text)]).toEqual([404, "not_found"]);
    },
  );
});

describe("what is not", () => {
  test.each([
    "/console/assets/",
    "/console/assets",
    "/console/assets/index-0000.js",
    "/console/local/faucet",
    "/console/.env",
    "/console/%2eenv",
    "/console/.vite/manifest.json",
    "/console/../secret.txt",
    "/console/../../secret.txt",
    "/console/%2e%2e/secret.txt",
    "/console/..%2fsecret.txt",
    "/console/%2e%2e%2f%2e%2e%2fsecret.txt",
    "/console/assets/..%2f..%2fsecret.txt",
    "/console/..\\secret.txt",
    "/console/..%5csecret.txt",
    "/console/%252e%252e/secret.txt",
    "/console/index.html%00.js",
    "/console/%00",
    "/console/%c0%ae%c0%ae/secret.txt",
    "/console//secret.txt",
  ])("%s is refused, to a browser too", async (path) => {
    for (const headers of [{}, NAVIGATION]) {
      const reply = await ask(shop.url, path, { headers });
      expect([path, reply.status === 404 || reply.status === 400]).toEqual([path, true]);
      expect(reply.headers["content-type"]).toBe("application/json; charset=utf-8");
      expect(reply.text).not.toContain(SECRET);
      expect(reply.text).not.toContain(built.directory);
    }
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])(
    "%s is not allowed",
    async (method) => {
      for (const path of ["/console", "/console/index.html", "/console/config.json", "/console/keys"]) {
        const reply = await ask(shop.url, path, { method, headers: NAVIGATION });
        expect([reply.status, reply.headers["allow"], code(reply.text)]).toEqual([
          405,
          "GET, HEAD",
          "method_not_allowed",
        ]);
      }
    },
  );

  test.each(["/consoles", "/Console", "/consol", "/"])("%s is none of the console's", async (path) => {
    const reply = await ask(shop.url, path, { headers: NAVIGATION });
    expect([reply.status, reply.headers["content-security-policy"]]).toEqual([404, undefined]);
  });
});

test.each([
  ["GET", "/console"],
  ["GET", "/console/keys"],
  ["GET", "/console/assets/index-4f2a.js"],
  ["GET", "/console/icon.svg"],
  ["GET", "/console/config.json"],
  ["GET", "/console/assets/missing.js"],
  ["GET", "/console/%2e%2e/secret.txt"],
  ["POST", "/console"],
])("%s %s has the headers of a page that trusts its own origin alone", async (method, path) => {
  const { headers } = await ask(shop.url, path, {
    method,
    headers: { ...NAVIGATION, origin: "https://evil.example" },
  });
  expect(headers).toMatchObject({
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin-allow-popups",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
  });
  for (const none of ["set-cookie", "access-control-allow-origin", "x-powered-by", "location"]) {
    expect(headers).not.toHaveProperty(none);
  }
});

test("the compiled program and the sources look for the page where the build puts it", async () => {
  const dist = dirname(dirname(inject("main")));
  const compiled = await import(join(dist, "server/console/console-files.js"));
  expect(compiled.builtConsole()).toBe(join(dist, "console"));
  expect(builtConsole()).toBe(fileURLToPath(new URL("../../dist/console", import.meta.url)));
});

test("a page that was not built is 404 with the command that builds it, and the rest works", async () => {
  const bare = await openShop({ env, consoleDirectory: `${built.directory}-that-is-not-there` });
  const page = await ask(bare.url, "/console", { headers: NAVIGATION });
  const screen = await ask(bare.url, "/console/keys", { headers: NAVIGATION });
  const config = await ask(bare.url, "/console/config.json");
  const account = await ask(bare.url, "/account");
  const models = await ask(bare.url, "/v1/models");
  await bare.close();
  for (const { status, text } of [page, screen]) {
    expect([status, code(text)]).toEqual([404, "not_found"]);
    expect(text).toContain("npm run build");
  }
  expect([config.status, account.status, models.status]).toEqual([200, 401, 200]);
});

test.each([
  ["console: false", { env, yaml: "console: false\n" }],
  ["no session key", {}],
])("with %s there is no console", async (_, options) => {
  const off = await openShop({ ...options, consoleDirectory: built.directory });
  const replies = [];
  for (const path of ["/console", "/console/index.html", "/console/config.json", "/console/keys"]) {
    replies.push(await ask(off.url, path, { headers: NAVIGATION }));
  }
  const account = await ask(off.url, "/account");
  await off.close();
  for (const { status, text } of replies) expect([status, code(text)]).toEqual([404, "not_found"]);
  expect(account.status).toBe("env" in options ? 401 : 404);
});
