import { createHash, createHmac, hash, hkdfSync, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTokenMint, identifierKey, responseKey } from "../../server/payment/token.ts";

const binding = {
  method: "POST",
  path: "/v1/chat/completions",
  amount: "20000",
  payTo: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
};
const START = 1_700_000_000_000;
const TTL_MS = 300_000;

function createMint(secrets: readonly string[] = ["first secret"], clock = () => START) {
  return createTokenMint({ secrets, ttlMs: TTL_MS, clock });
}

const genuine = { ok: true, expired: false };
const refused = (problem: string) => ({ ok: false, problem });

describe("a token is good for what it was issued for, and for nothing else", () => {
  const mint = createMint();
  const { token, memo } = mint.issue(binding);

  test.each([
    ["method", { method: "GET" }],
    ["path", { path: "/v1/embeddings" }],
    ["a longer path", { path: `${binding.path}/` }],
    ["amount", { amount: "2000" }],
    ["the same amount, written otherwise", { amount: "020000" }],
    ["payTo", { payTo: "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd" }],
    ["a border moved between method and path", { method: "POST/v1", path: "/chat/completions" }],
    ["a border moved between amount and payTo", { amount: "200002", payTo: binding.payTo.slice(1) }],
  ])("not for another %s", (_, change) => {
    expect(mint.check(token, memo, binding)).toEqual(genuine);
    expect(mint.check(token, memo, { ...binding, ...change })).toEqual(refused("mac"));
  });

  test("one for another asset than USDC: not for a third, not for other dollars, not for USDC, and not the other way", () => {
    const other = { asset: "PLAY111111111111111111111111111111111111111", worth: "50000" };
    const inOther = { ...binding, other };
    const issued = mint.issue(inOther);
    expect(mint.check(issued.token, issued.memo, inOther)).toEqual(genuine);
    for (const wrong of [
      binding,
      { ...inOther, other: { ...other, asset: binding.payTo } },
      { ...inOther, other: { ...other, worth: "50001" } },
      { ...inOther, other: { asset: other.asset.slice(0, -1), worth: `1${other.worth}` } },
      { ...inOther, amount: "20001" },
    ]) {
      expect(mint.check(issued.token, issued.memo, wrong)).toEqual(refused("mac"));
    }
    expect(mint.check(token, memo, inOther)).toEqual(refused("mac"));
  });

  test("not with another memo", () => {
    const another = mint.issue(binding);
    for (const wrong of [another.memo, "", memo.toLowerCase(), `${memo} `, memo.slice(1)]) {
      expect(mint.check(token, wrong, binding)).toEqual(refused("memo"));
    }
  });

  test("not with any of its characters changed", () => {
    for (let at = 0; at < token.length; at += 1) {
      const changed = token.charAt(at) === "A" ? "B" : "A";
      const forged = token.slice(0, at) + changed + token.slice(at + 1);
      expect(mint.check(forged, memo, binding)).toEqual(refused("memo"));
      const itsMemo = hash("sha256", forged, "base64url").slice(0, mint.memoLength);
      expect(mint.check(forged, itsMemo, binding)).toEqual(refused("mac"));
    }
  });

  test.each(["", token.slice(1), `${token}A`, `${token}=`, `+${token.slice(1)}`, ` ${token}`, `${token}\n`])(
    "%j is malformed",
    (text) => {
      expect(mint.check(text, memo, binding)).toEqual(refused("malformed"));
    },
  );

  test("any texts are refused without a throw", () => {
    const text = fc.string({ unit: "binary", maxLength: 80 });
    const tokenLike = fc
      .uint8Array({ minLength: 36, maxLength: 36 })
      .map((bytes) => Buffer.from(bytes).toString("base64url"));
    const property = fc.property(
      fc.oneof(text, tokenLike),
      text,
      text,
      text,
      (forged, memoText, path, amount) => {
        expect(mint.check(forged, memoText, { ...binding, path, amount }).ok).toBe(false);
      },
    );
    fc.assert(property, { numRuns: 2_000 });
  });

  test.each([300, 1_300, 1_400, 5_000])("amount and payTo bind after a path of %i characters", (length) => {
    const long = { ...binding, path: `/${"p".repeat(length)}` };
    const issued = mint.issue(long);
    expect(mint.check(issued.token, issued.memo, long)).toEqual(genuine);
    expect(mint.check(issued.token, issued.memo, { ...long, amount: "1" })).toEqual(refused("mac"));
    expect(mint.check(issued.token, issued.memo, { ...long, payTo: "me" })).toEqual(refused("mac"));
  });

  test("paths and amounts of any length and any characters bind, lone surrogates included", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.string({ minLength: 1_300, maxLength: 6_000 }),
      fc.constantFrom("\ud800", "\udfff", "\ufffd", '"', "\\", '","'),
    );
    const property = fc.property(text, text, text, (path, amount, other) => {
      const issued = mint.issue({ ...binding, path, amount });
      expect(mint.check(issued.token, issued.memo, { ...binding, path, amount })).toEqual(genuine);
      fc.pre(path !== other);
      expect(mint.check(issued.token, issued.memo, { ...binding, path: other, amount })).toEqual(
        refused("mac"),
      );
    });
    fc.assert(property, { numRuns: 1_000, examples: [["\ud800", "1", "\ufffd"]] });
  });
});

describe("secrets rotate", () => {
  test("the newest issues, the one before still checks, an older one does not", () => {
    const { token, memo } = createMint(["old"]).issue(binding);
    expect(createMint(["new", "old"]).check(token, memo, binding)).toEqual(genuine);
    expect(createMint(["newer", "new"]).check(token, memo, binding)).toEqual(refused("mac"));
    const fresh = createMint(["new", "old"]).issue(binding);
    expect(createMint(["new"]).check(fresh.token, fresh.memo, binding)).toEqual(genuine);
    expect(createMint(["old"]).check(fresh.token, fresh.memo, binding)).toEqual(refused("mac"));
  });

  test.each([[[]], [["one", "two", "three"]]])("%j is not a set of secrets", (secrets) => {
    expect(() => createMint(secrets)).toThrow(RangeError);
  });
});

test("a token expires between its time to live and a second later, and stays ours", () => {
  let now = START + 1;
  const mint = createMint(["s"], () => now);
  const { token, memo } = mint.issue(binding);
  now = START + 1 + TTL_MS;
  expect(mint.check(token, memo, binding)).toEqual(genuine);
  now = START + TTL_MS + 999;
  expect(mint.check(token, memo, binding)).toEqual(genuine);
  now = START + TTL_MS + 1_000;
  expect(mint.check(token, memo, binding)).toEqual({ ok: true, expired: true });
});

test("lengths are fixed, multiples of 3, and the memo is shorter than the official client's own", () => {
  const mint = createMint();
  expect([mint.tokenLength % 3, mint.memoLength % 3]).toEqual([0, 0]);
  for (let count = 0; count < 1_000; count += 1) {
    const { token, memo } = mint.issue({ ...binding, path: `/${"x".repeat(count * 3)}` });
    expect([token.length, memo.length]).toEqual([mint.tokenLength, mint.memoLength]);
    expect(`${token}${memo}`).toMatch(/^[A-Za-z0-9_-]+$/);
  }
  expect(mint.memoLength).toBeLessThan(32);
});

test("100,000 tokens and their memos all differ", () => {
  const mint = createMint();
  const issued = Array.from({ length: 100_000 }, () => mint.issue(binding));
  expect(new Set(issued.map(({ token }) => token)).size).toBe(100_000);
  expect(new Set(issued.map(({ memo }) => memo)).size).toBe(100_000);
});

test("every nonce is fresh randomness, none is used twice", () => {
  const drawn: Buffer[] = [];
  const draw = (size: number) => {
    const bytes = randomBytes(size);
    drawn.push(bytes);
    return bytes;
  };
  const mint = createTokenMint({ secrets: ["s"], ttlMs: TTL_MS, clock: () => START, randomBytes: draw });
  const nonces = Array.from({ length: 1_100 }, () =>
    Buffer.from(mint.issue(binding).token, "base64url").subarray(0, 16),
  );
  const spent = Buffer.concat(nonces);
  expect(Buffer.concat(drawn).subarray(0, spent.length)).toEqual(spent);
});

test("the MAC is HMAC-SHA-256 as node:crypto makes it, the memo the token's SHA-256", () => {
  const { token, memo } = createMint(["secret"]).issue(binding);
  const bytes = Buffer.from(token, "base64url");
  const key = Buffer.from(hkdfSync("sha256", "secret", "", "farebox token mac v1", 32));
  const text = JSON.stringify([binding.method, binding.path, binding.amount, binding.payTo]);
  const mac = createHmac("sha256", key).update(bytes.subarray(0, 20)).update(text).digest();
  expect(bytes.subarray(20)).toEqual(mac.subarray(0, 16));
  expect(bytes.readUInt32BE(16)).toBe((START + TTL_MS) / 1_000);
  expect(createHash("sha256").update(token).digest("base64url").startsWith(memo)).toBe(true);
});

test("keys of stored responses differ by their secret and by its kind", () => {
  const keys = ["a", "b"].flatMap((secret) => [responseKey(secret), identifierKey(secret)]);
  expect(keys.map((key) => key.length)).toEqual([32, 32, 32, 32]);
  expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(4);
  expect(responseKey("a")).toEqual(responseKey("a"));
  expect(identifierKey("a")).toEqual(identifierKey("a"));
});
