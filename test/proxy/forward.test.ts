import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forwardedPath } from "../../server/proxy/forward.ts";
import { answers } from "../support/model-upstream.ts";
import { ask, SECRET_KEY, type Stand, startStand } from "./stand.ts";

let stand: Stand;
beforeAll(async () => {
  stand = await startStand();
});
afterAll(() => stand.close());

const lastCall = () => stand.upstream.calls.at(-1);

describe("request headers", () => {
  it.each([
    "payment-signature",
    "x-payment",
    "payment-required",
    "payment-response",
    "x-payment-response",
    "sign-in-with-x",
    "cookie",
    "if-none-match",
    "if-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "te",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
  ])("%s does not reach the upstream", async (name) => {
    await ask(stand.url, "/site", { headers: { [name]: "value", "x-kept": "yes" } });
    expect(lastCall()?.headers[name]).toBeUndefined();
    expect(lastCall()?.headers["x-kept"]).toBe("yes");
  });

  it.each([
    "X_Forwarded_For",
    "x_forwarded-host",
    "X_Real_IP",
    "X.Real.IP",
    "X_HTTP_Method_Override",
    "X_Original_URL",
    "Payment_Signature",
    "Proxy_Authorization",
    "X_Hop",
  ])("%s is read as the dashed one by some servers, and does not reach the upstream either", async (name) => {
    await ask(stand.url, "/site", {
      headers: { Connection: "close, X-Hop", [name]: "value", X_Kept: "yes" },
    });
    expect(lastCall()?.rawHeaders).not.toContain(name);
    expect(lastCall()?.rawHeaders).toContain("X_Kept");
  });

  it("drops what Connection names, and nothing else", async () => {
    await ask(stand.url, "/site", {
      headers: { Connection: "close, X-Hop", "X-Hop": "1", "X-Other": "close" },
    });
    expect(lastCall()?.headers["x-hop"]).toBeUndefined();
    expect(lastCall()?.headers["x-other"]).toBe("close");
  });

  it("has the upstream's host and the operator's key in the place of the caller's", async () => {
    await ask(stand.url, "/site", { headers: { Authorization: "Bearer callers", Host: "evil.example" } });
    expect(lastCall()?.headers["host"]).toBe(new URL(stand.upstream.url).host);
    expect(lastCall()?.headers["authorization"]).toBe(`Bearer ${SECRET_KEY}`);
    expect(lastCall()?.rawHeaders.filter((name) => name.toLowerCase() === "authorization")).toHaveLength(1);
  });

  it("keeps names, order and repetition of the others, and invents none", async () => {
    await ask(stand.url, "/site", {
      headers: ["Host", "x", "X-One", "a", "Accept-Encoding", "br", "X-One", "b"],
    });
    const raw = lastCall()?.rawHeaders ?? [];
    expect(raw.slice(raw.indexOf("X-One"), raw.indexOf("X-One") + 6)).toEqual([
      "X-One",
      "a",
      "Accept-Encoding",
      "br",
      "X-One",
      "b",
    ]);
    expect(Object.keys(lastCall()?.headers ?? {}).sort()).toEqual([
      "accept-encoding",
      "authorization",
      "connection",
      "host",
      "x-one",
    ]);
  });
});

describe("response headers", () => {
  it.each([
    "set-cookie",
    "payment-required",
    "payment-response",
    "x-payment-response",
    "x-payment",
    "server",
    "x-powered-by",
    "www-authenticate",
    "proxy-authenticate",
    "access-control-allow-origin",
    "alt-svc",
    "strict-transport-security",
    "clear-site-data",
    "cache-control",
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "surrogate-control",
    "expires",
    "x-accel-redirect",
    "x-sendfile",
    "x-hop",
  ])("%s does not reach the caller", async (name) => {
    const headers = { [name]: "value", Connection: "X-Hop", "X-Kept": "yes" };
    stand.upstream.next(answers.raw(200, headers, "body"));
    const reply = await ask(stand.url, "/site");
    expect(reply.headers[name]).toBeUndefined();
    expect(reply.headers["x-kept"]).toBe("yes");
  });

  it("keeps the length, the type and repeated headers", async () => {
    const headers = { "Content-Length": "4", "Content-Type": "text/plain", Link: ["<a>", "<b>"] };
    stand.upstream.next(answers.raw(200, headers, "body"));
    const reply = await ask(stand.url, "/site");
    expect(reply.headers).toMatchObject({ "content-length": "4", "content-type": "text/plain" });
    expect(reply.headers["link"]).toBe("<a>, <b>");
    expect(reply.headers["transfer-encoding"]).toBeUndefined();
  });

  it("keeps bytes above ASCII in a value", async () => {
    stand.upstream.next(answers.raw(200, { "X-Name": "caf\u00e9" }));
    expect((await ask(stand.url, "/site")).headers["x-name"]).toBe("caf\u00e9");
  });

  it.each([
    ["an absolute one within the upstream", "UPSTREAM/next?x=1", "/next?x=1"],
    ["a rooted one", "/next", "/next"],
    ["a relative one", "next", "next"],
    ["one to elsewhere", "https://other.example/x", "https://other.example/x"],
  ])("Location: %s", async (_, location, expected) => {
    const headers = { Location: location.replace("UPSTREAM", stand.upstream.url) };
    stand.upstream.next(answers.raw(302, headers));
    const reply = await ask(stand.url, "/site");
    expect([reply.status, reply.headers["location"]]).toEqual([302, expected]);
  });

  it.each([
    ["Content-Location", "UPSTREAM/page.html?x=1", "/page.html?x=1"],
    ["Content-Location", "page.html", "page.html"],
    ["Refresh", "0; url=UPSTREAM/next", "0; url=/next"],
    ["Refresh", '5;URL = "UPSTREAM/next?x=1"', '5;URL = "/next?x=1"'],
    ["Refresh", "0; url=https://other.example/x", "0; url=https://other.example/x"],
    ["Refresh", "0;UPSTREAM/next", "0;/next"],
    ["Refresh", "30", "30"],
    [
      "Link",
      '<UPSTREAM/site?page=2>; rel="next", <https://other.example/x>; rel=help, <page/3>; rel="last"',
      '</site?page=2>; rel="next", <https://other.example/x>; rel=help, <page/3>; rel="last"',
    ],
  ])("%s: %s", async (name, value, expected) => {
    stand.upstream.next(answers.raw(200, { [name]: value.replace("UPSTREAM", stand.upstream.url) }));
    expect((await ask(stand.url, "/site")).headers[name.toLowerCase()]).toBe(expected);
  });
});

describe("bodies", () => {
  it("any bytes and any query arrive unchanged", async () => {
    const query = fc.stringMatching(/^[\w.~!$&'()*+,;=:@/?%"<>^`{|}\\-]{0,60}$/);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4_096 }), query, async (bytes, search) => {
        const reply = await ask(stand.url, `/site/a%2fb?${search}`, { method: "POST", body: bytes });
        expect(lastCall()?.path).toBe(`/site/a%2fb?${search}`);
        expect(Buffer.from(lastCall()?.body ?? []).equals(bytes)).toBe(true);
        expect(Buffer.from(reply.json.body, "base64").equals(bytes)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("a GET has none", async () => {
    await ask(stand.url, "/site", { headers: { "Content-Length": "2" }, body: "{}" });
    expect(lastCall()?.body).toHaveLength(0);
    expect(lastCall()?.headers["content-length"]).toBeUndefined();
  });

  it("HEAD answers with the headers alone", async () => {
    stand.upstream.next(answers.raw(200, { "Content-Length": "1234" }));
    const reply = await ask(stand.url, "/site", { method: "HEAD" });
    expect([reply.status, reply.headers["content-length"], reply.body.length]).toEqual([200, "1234", 0]);
    expect(lastCall()?.method).toBe("HEAD");
  });

  it("a compressed answer stays compressed", async () => {
    const compressed = gzipSync("a".repeat(5_000));
    stand.upstream.next(answers.raw(200, { "Content-Encoding": "gzip" }, compressed));
    const reply = await ask(stand.url, "/site", { headers: { "Accept-Encoding": "gzip" } });
    expect(reply.headers["content-encoding"]).toBe("gzip");
    expect(reply.body.equals(compressed)).toBe(true);
    expect(lastCall()?.headers["accept-encoding"]).toBe("gzip");
  });

  it.each([204, 304, 404, 409, 422, 429])("status %i passes", async (status) => {
    stand.upstream.next(answers.raw(status, { "X-Kept": "yes" }, status === 404 ? "not there" : ""));
    const reply = await ask(stand.url, "/site");
    expect([reply.status, reply.headers["x-kept"]]).toEqual([status, "yes"]);
    expect(reply.body.toString()).toBe(status === 404 ? "not there" : "");
  });

  it.each([204, 304])("status %i with the length of another answer passes without it", async (status) => {
    const raw = createServer((socket) => {
      socket.on("data", () =>
        socket.write(`HTTP/1.1 ${status} Fine\r\nContent-Length: 4\r\nX-Kept: yes\r\n\r\n`),
      );
    }).listen(0, "127.0.0.1");
    await once(raw, "listening");
    const before = await startStand({ url: `http://127.0.0.1:${(raw.address() as AddressInfo).port}` });
    const replies = [await fetch(`${before.url}/site`), await fetch(`${before.url}/site`)];
    expect(replies.map((reply) => [reply.status, reply.headers.get("x-kept")])).toEqual(
      Array(2).fill([status, "yes"]),
    );
    expect(await Promise.all(replies.map((reply) => reply.text()))).toEqual(["", ""]);
    expect(replies[0]?.headers.has("content-length")).toBe(false);
    expect(before.faults).toEqual([]);
    await before.close();
    raw.close();
  });
});

describe("paths", () => {
  it.each([
    ["/report/7?x=1", "/report/7?x=1"],
    ["/a%2Fb//c", "/a%2Fb//c"],
    ["/report/7#top?x", "/report/7"],
    ["http://anything.example/report/7?x=1", "/report/7?x=1"],
    ["http://anything.example?x=1", "/?x=1"],
    ["/files/.hidden/...", "/files/.hidden/..."],
    ["/search?path=../../etc", "/search?path=../../etc"],
  ])("%s is forwarded as %s", (url, expected) => {
    expect(forwardedPath(url)).toBe(expected);
  });

  it.each([
    "/files/../admin",
    "/files/..",
    "/files/./x",
    "/files/%2e%2E/admin",
    "/files/.%2e/admin",
    "/files/..%2fadmin",
    "/files%2f..%2fadmin",
    "/files/..%5cadmin",
    "/files/..\\admin",
    "/files\\x",
    "/files/..;/admin",
    "/files/..%3bx/admin",
    "http://anything.example/../admin",
    "/tab\there",
  ])("%s is not forwarded", (url) => {
    expect(forwardedPath(url)).toBeUndefined();
  });

  it("is refused before anything is claimed", async () => {
    const before = stand.upstream.calls.length;
    const reply = await ask(stand.url, "/site/../admin");
    expect([reply.status, reply.json.error.code]).toEqual([400, "invalid_request"]);
    expect(stand.upstream.calls).toHaveLength(before);
  });

  it("goes below the upstream's own path", async () => {
    const below = await startStand({ url: `${stand.upstream.url}/base` });
    stand.upstream.next(answers.raw(302, { Location: "/base/next" }));
    const reply = await ask(below.url, "/site?x=1");
    await below.close();
    expect(lastCall()?.path).toBe("/base/site?x=1");
    expect(reply.headers["location"]).toBe("/next");
  });
});
