import type { IncomingHttpHeaders } from "node:http";

/** Meant for one connection only (RFC 9110 §7.6.1), and those that the two HTTP stacks write themselves. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
];

/** Payments are between the caller and us: an upstream could replay one, and could forge the proof of one. */
const PAYMENT = [
  "payment-signature",
  "x-payment",
  "payment-required",
  "payment-response",
  "x-payment-response",
  "sign-in-with-x",
];

/** What a caller says and an upstream must not hear. */
const REQUEST_DROPPED = new Set([
  ...HOP_BY_HOP,
  ...PAYMENT,
  "host",
  "content-length",
  "expect",
  // Credentials for us. The upstream gets the operator's.
  "authorization",
  "cookie",
  // A 304 or 206 would be a paid answer without its content.
  "if-match",
  "if-none-match",
  "if-modified-since",
  "if-unmodified-since",
  "if-range",
  "range",
  // Anybody can write these, and upstreams behind a gateway tend to believe them.
  "forwarded",
  "x-real-ip",
  "true-client-ip",
  "x-client-ip",
  // They make some frameworks serve another path or method than the one that was priced.
  "x-original-url",
  "x-rewrite-url",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
]);
const REQUEST_DROPPED_PREFIX = "x-forwarded-";

/** What an upstream says and a caller must not hear. */
const RESPONSE_DROPPED = new Set([
  ...HOP_BY_HOP,
  ...PAYMENT,
  "set-cookie",
  "set-cookie2",
  "www-authenticate",
  // What the upstream runs is its own business.
  "server",
  "x-powered-by",
  "x-aspnet-version",
  "via",
  // They speak for the upstream's origin, not for ours.
  "alt-svc",
  "strict-transport-security",
  "clear-site-data",
  // Sold content is not to be cached, whatever the upstream thinks of it.
  "cache-control",
  "expires",
  "pragma",
  "age",
  "surrogate-control",
  "x-accel-expires",
  // Orders to a proxy in front of us: serve another file, or another location.
  "x-accel-redirect",
  "x-sendfile",
]);
const RESPONSE_DROPPED_PREFIX = "access-control-";
const CDN_CACHE = /(?:^|-)cdn-cache-control$/;

const WRITABLE_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** They name an address, which may be the upstream's own. */
const RESPONSE_REWRITTEN = new Map([
  ["location", localLocation],
  ["content-location", localLocation],
  ["refresh", localRefresh],
  ["link", localLinks],
]);

/**
 * The caller's headers as the upstream gets them: a flat list of names and values. What is dropped is dropped in any spelling that
 * a server might read as the same. Accept-Encoding stays, since the body is
 * passed on as it comes. `Host` is left to the connection.
 */
export function forwardedRequestHeaders(rawHeaders: readonly string[], apiKey: string | undefined): string[] {
  const named = connectionNames(
    rawHeaders.filter((_, index) => rawHeaders[index - 1]?.toLowerCase() === "connection" && index % 2 === 1),
  );
  const headers: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const key = asServersRead(name);
    if (REQUEST_DROPPED.has(key) || key.startsWith(REQUEST_DROPPED_PREFIX) || named.has(key)) continue;
    headers.push(name, rawHeaders[index + 1] ?? "");
  }
  if (apiKey !== undefined) headers.push("authorization", `Bearer ${apiKey}`);
  return headers;
}

/** The upstream's headers as the caller gets them. A redirect within the upstream becomes one within us. */
export function forwardedResponseHeaders(
  headers: Readonly<IncomingHttpHeaders>,
  base: URL,
): readonly (readonly [string, string | string[]])[] {
  const named = connectionNames([headers.connection ?? ""]);
  const kept: [string, string | string[]][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || isDroppedResponseHeader(name) || named.has(asServersRead(name))) continue;
    if (![value].flat().every((text) => WRITABLE_VALUE.test(text))) continue;
    const rewrite = RESPONSE_REWRITTEN.get(name);
    kept.push([name, rewrite !== undefined && typeof value === "string" ? rewrite(value, base) : value]);
  }
  return kept;
}

function isDroppedResponseHeader(name: string): boolean {
  return RESPONSE_DROPPED.has(name) || name.startsWith(RESPONSE_DROPPED_PREFIX) || CDN_CACHE.test(name);
}

/** Further headers that `Connection` declares to be meant for this connection. */
function connectionNames(values: readonly string[]): ReadonlySet<string> {
  return new Set(values.flatMap((value) => value.split(",").map((name) => asServersRead(name.trim()))));
}

/** CGI, WSGI and PHP make `_` of `-`, and some of them of `.` and others too: `X_Real.IP` arrives as `X-Real-IP`. */
function asServersRead(name: string): string {
  return name.toLowerCase().replace(/[^a-z\d]/g, "-");
}

/** `http://upstream:3000/base/x` -> `/x`: an internal address means nothing to the caller, and is not for it to know. */
function localLocation(location: string, base: URL): string {
  if (!URL.canParse(location, base.href)) return location;
  const target = new URL(location, base);
  if (target.origin !== base.origin) return location;
  const isAbsolute = /^(?:[a-z][a-z\d+.-]*:|\/)/i.test(location);
  if (!isAbsolute) return location;
  const prefix = base.pathname.replace(/\/$/, "");
  const inside = target.pathname.startsWith(`${prefix}/`);
  return `${inside ? target.pathname.slice(prefix.length) : target.pathname}${target.search}${target.hash}`;
}

/** `5; url=http://upstream:3000/x`: browsers also read it without `url=`, and in quotes. */
function localRefresh(refresh: string, base: URL): string {
  const beforeUrl = /^[\s\d.]*[;,]?\s*(?:url\s*=\s*)?["']?/i.exec(refresh)?.[0] ?? "";
  const url = refresh.slice(beforeUrl.length);
  const end = url.search(/["']|$/);
  return `${beforeUrl}${localLocation(url.slice(0, end), base)}${url.slice(end)}`;
}

/** `<http://upstream:3000/x?page=2>; rel="next"`, and others after a comma. */
function localLinks(links: string, base: URL): string {
  return links.replace(/<([^<>]*)>/g, (_, target: string) => `<${localLocation(target, base)}>`);
}
