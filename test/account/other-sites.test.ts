import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type AccountWorld,
  type Browser,
  newWallet,
  openAccountWorld,
  PUBLIC_URL,
  refusal,
} from "./account-world.ts";

let world: AccountWorld;
let browser: Browser;
beforeAll(async () => {
  world = await openAccountWorld();
  browser = await world.gate.signIn(await newWallet());
});
afterAll(() => world.close());

const CHANGES: readonly [string, string][] = [
  ["POST", "/account/keys"],
  ["PATCH", "/account/keys/key_x"],
  ["DELETE", "/account/keys/key_x"],
  ["POST", "/account/keys/key_x/rotate"],
  ["POST", "/account/rpc"],
  ["PUT", "/account/provider-keys/default"],
  ["DELETE", "/account/provider-keys/default"],
  ["POST", "/auth/logout"],
  ["POST", "/auth/logout-everywhere"],
];

/** With the victim's cookie, as its browser would send it. */
function ask(method: string, path: string, headers: Record<string, string>) {
  const { cookie = "" } = browser.headers;
  return world.gate.call(method, path, { headers: { cookie, ...headers } });
}

describe.each(CHANGES)("%s %s with the victim's cookie", (method, path) => {
  test.each<[string, Record<string, string>]>([
    ["another site", { origin: "https://evil.example" }],
    ["a host that only ends right", { origin: "https://evil-shop.example.com" }],
    ["a subdomain", { origin: "https://a.shop.example.com" }],
    ["plain http", { origin: "http://shop.example.com" }],
    ["another port", { origin: `${PUBLIC_URL}:8443` }],
    ["a sandboxed page", { origin: "null" }],
    ["nobody knows where", {}],
    ["a Referer of ours alone", { referer: `${PUBLIC_URL}/console` }],
  ])("from %s is refused, even with the token", async (_, headers) => {
    const reply = await ask(method, path, { ...headers, "x-csrf-token": browser.csrfToken });
    expect(refusal(reply)).toEqual([403, "csrf_refused", "origin"]);
    expect(reply.headers.getSetCookie()).toEqual([]);
  });

  test("from here, but without this session's token, is refused unless it only reads", async () => {
    const other = await world.gate.signIn(await newWallet());
    for (const token of [undefined, "", "x", browser.csrfToken.slice(1), other.csrfToken]) {
      const headers = token === undefined ? {} : { "x-csrf-token": token };
      const reply = await ask(method, path, { origin: PUBLIC_URL, ...headers });
      if (path === "/account/rpc") expect(refusal(reply)).toEqual([400, "invalid_request", undefined]);
      else expect(refusal(reply)).toEqual([403, "csrf_refused", "token"]);
    }
  });
});

test("nothing of that has changed anything, and the page itself may", async () => {
  expect((await browser.call("GET", "/account/keys")).json).toEqual({ keys: [] });
  expect((await browser.call("POST", "/account/keys", { body: { label: "mine" } })).status).toBe(201);
});

test("another site cannot refresh the session, nor sign the browser in as somebody else", async () => {
  for (const headers of [{ origin: "https://evil.example" }, { origin: "null" }]) {
    expect(refusal(await ask("POST", "/auth/refresh", headers))).toEqual([403, "csrf_refused", "origin"]);
    const body = await world.gate.proof(await newWallet());
    const reply = await world.gate.call("POST", "/auth/verify", { body, headers });
    expect(refusal(reply)).toEqual([403, "csrf_refused", "origin"]);
    expect(reply.headers.getSetCookie()).toEqual([]);
  }
  expect(refusal(await ask("POST", "/auth/refresh", {}))).toEqual([403, "csrf_refused", "origin"]);
});

test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])(
  "a form's %s is no body here",
  async (type) => {
    const headers = { "content-type": type };
    const body = JSON.stringify(await world.gate.proof(await newWallet()));
    for (const reply of [
      await world.gate.call("POST", "/auth/verify", { body, headers }),
      await browser.call("POST", "/account/keys", { body, headers }),
    ]) {
      expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
      expect(reply.headers.getSetCookie()).toEqual([]);
    }
  },
);

test("a header proof needs neither origin nor token: no browser sends it by itself", async () => {
  const headers = await world.gate.header(await newWallet());
  const reply = await world.gate.call("POST", "/account/keys", { body: {}, headers });
  expect(reply.status).toBe(201);
});

test("no other origin may read anything, and nothing is a page, framed or kept", async () => {
  const origin = "https://evil.example";
  const replies = [
    await ask("GET", "/account", { origin }),
    await ask("GET", "/account/usage?format=csv", { origin }),
    await ask("GET", "/account/nothing", { origin }),
    await ask("OPTIONS", "/account/keys", {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "x-csrf-token",
    }),
    await world.gate.call("GET", "/account", { headers: { origin } }),
    await world.gate.call("POST", "/auth/challenge", { headers: { origin }, body: {} }),
    await world.gate.call("GET", "/auth/nothing", { headers: { origin } }),
  ];
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 404, 403, 401, 400, 404]);
  for (const { headers } of replies) {
    expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
    expect(headers.get("content-type")).toMatch(/^(application\/json|text\/csv); charset=utf-8$/);
  }
});
