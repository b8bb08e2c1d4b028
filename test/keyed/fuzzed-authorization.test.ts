import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mintKey } from "../../server/ledger/keys.ts";
import { rawRequest } from "../hostile/raw-request.ts";
import { type Customer, chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** Whatever stands in `Authorization`: nobody is served on a key that is not theirs, nothing fails on our side, nothing is lost. */
let shop: KeyedShop;
let customer: Customer;
beforeAll(async () => {
  shop = await openKeyedShop({ yaml: "limits: { badCredentialsPerMinute: 1000000 }\n" });
  customer = await shop.customer(1_000_000n);
});
afterAll(() => shop.close());

/** Latin-1, since that is what goes over the wire; without what would end the header. */
const junk = fc
  .string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 40 })
  .map((text) => text.replace(/[\r\n]/g, ""));
const scheme = fc.constantFrom("Bearer ", "bearer  ", "Bearer\t", "BEARER", "Basic ", "Token ", "");
const injection = fc.constantFrom(
  "' OR '1'='1",
  "'; DROP TABLE api_key; --",
  '" OR 1=1 --',
  "%00",
  "\0",
  "../../etc/passwd",
  "__proto__",
  ") RETURNING secret --",
);

function tokens(secret: string): fc.Arbitrary<string> {
  const place = fc.nat({ max: secret.length });
  return fc.oneof(
    junk,
    injection,
    fc.tuple(place, injection).map(([at, text]) => secret.slice(0, at) + text + secret.slice(at)),
    fc.tuple(place, junk).map(([at, text]) => secret.slice(0, at) + text),
    fc.tuple(place, place).map(([from, to]) => secret.slice(Math.min(from, to), Math.max(from, to))),
    fc.nat().map(() => mintKey("sk_farebox_").secret),
    fc.tuple(injection).map(([text]) => `sk_farebox_${text}`),
    fc.constantFrom(secret.toUpperCase(), secret.toLowerCase(), `${secret}${secret}`, `${secret},${secret}`),
  );
}

const REQUESTS = [
  ["POST", "/v1/chat/completions", chat("Hi", { model: "flat-test" })],
  ["POST", "/topup", "{}"],
  ["GET", "/v1/key", ""],
  ["GET", "/v1/models", ""],
] as const;

test.each(REQUESTS)("%s %s", async (method, path, body) => {
  const before = shop.upstream.calls.length;
  const met = new Set<number>();
  const header = fc.tuple(scheme, tokens(customer.secret)).filter(([named, token]) => {
    const isHis = token.trim() === customer.secret && /^bearer/i.test(named);
    return !isHis;
  });
  await fc.assert(
    fc.asyncProperty(header, async ([named, token]) => {
      const lines = [
        `${method} ${path} HTTP/1.1`,
        "Host: shop.example",
        `Authorization: ${named}${token}`,
        "Content-Type: application/json",
        `Content-Length: ${body.length}`,
        "Connection: close",
      ];
      const { statuses, text } = await rawRequest(
        Number(new URL(shop.url).port),
        `${lines.join("\r\n")}\r\n\r\n${body}`,
      );
      for (const status of statuses) met.add(status);
      // 400: characters that HTTP forbids. 402: no credential, and the price. 200: what is free to all.
      const fine = path === "/v1/models" ? [200, 400, 401] : [400, 401, 402];
      expect(fine).toEqual(expect.arrayContaining([...statuses]));
      expect(statuses).toHaveLength(1);
      expect(text).not.toContain(customer.secret);
      if (statuses[0] === 401) expect(text).toMatch(/^www-authenticate: bearer/im);
    }),
    { numRuns: 400 },
  );
  expect([...met]).toEqual(expect.arrayContaining([400, 401]));
  expect(shop.upstream.calls.length).toBe(before);
  expect(await shop.books(customer.account)).toEqual({ balance: 1_000_000n, held: 0n, journal: 1_000_000n });
  expect(await shop.usageOf(customer.account)).toEqual([]);
  expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
});

test("the key itself is served all the while", async () => {
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: customer.headers,
    body: chat("Hi"),
  });
  expect(answer.status).toBe(200);
});
