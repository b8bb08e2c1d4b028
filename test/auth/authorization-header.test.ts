import fc from "fast-check";
import { expect, test } from "vitest";
import { readBearer } from "../../server/auth/credential.ts";

const malformed = { kind: "malformed" };

test.each([
  ["no header", undefined, { kind: "none" }],
  ["an empty one", "", malformed],
  ["a blank one", " ", malformed],
  ["the scheme alone", "Bearer", malformed],
  ["the scheme and a blank", "Bearer ", malformed],
  ["a key", "Bearer sk_farebox_abc", { kind: "key", token: "sk_farebox_abc" }],
  ["any case of the scheme", "bEaReR sk-1", { kind: "key", token: "sk-1" }],
  ["more than one blank", "Bearer   sk-1", { kind: "key", token: "sk-1" }],
  ["blanks beyond any length", `Bearer${" ".repeat(5_000)}sk-1`, malformed],
  ["a tab instead", "Bearer\tsk-1", malformed],
  ["a blank in front", " Bearer sk-1", malformed],
  ["a blank behind", "Bearer sk-1 ", malformed],
  ["two tokens", "Bearer sk-1 sk-2", malformed],
  ["the scheme twice", "Bearer Bearer sk-1", malformed],
  ["two headers that were joined", "Bearer sk-1, Bearer sk-2", malformed],
  ["joined without a blank", "Bearer sk-1,sk-2", malformed],
  ["Basic", "Basic dXNlcjpwYXNz", malformed],
  ["a token without a scheme", "sk_farebox_abc", malformed],
  ["a scheme that only begins alike", "Bearerx sk-1", malformed],
  ["quotes", 'Bearer "sk-1"', malformed],
  ["an injection", "Bearer ' OR 1=1 --", malformed],
  ["a line break", "Bearer sk-1\nX: y", malformed],
  ["a line break at the end", "Bearer sk-1\n", malformed],
  ["letters beyond ASCII", "Bearer ſk-1", malformed],
  ["every character RFC 6750 allows", "Bearer aZ0-._~+/==", { kind: "key", token: "aZ0-._~+/==" }],
  ["padding inside", "Bearer a=b", malformed],
  ["three base64url parts", "Bearer aa.b-.c_", { kind: "jwt", token: "aa.b-.c_" }],
  ["an unsigned token", "Bearer aa.bb.", { kind: "jwt", token: "aa.bb." }],
  ["an encrypted token, of five parts", "Bearer a.b.c.d.e", { kind: "key", token: "a.b.c.d.e" }],
  ["three parts, one of them plain base64", "Bearer aa.b+.cc", { kind: "key", token: "aa.b+.cc" }],
  ["the longest key", `Bearer ${"k".repeat(256)}`, { kind: "key", token: "k".repeat(256) }],
  ["a longer key", `Bearer ${"k".repeat(257)}`, malformed],
  [
    "the longest token",
    `Bearer a.b.${"c".repeat(4_092)}`,
    { kind: "jwt", token: `a.b.${"c".repeat(4_092)}` },
  ],
  ["a longer token", `Bearer a.b.${"c".repeat(4_093)}`, malformed],
])("%s", (_, header, expected) => {
  expect(readBearer(header)).toEqual(expected);
});

const pieces = fc.array(
  fc.oneof(
    fc.constantFrom(
      "Bearer",
      "bearer",
      "Basic",
      " ",
      "\t",
      ",",
      ".",
      "=",
      "\0",
      "\r\n",
      "sk_farebox_",
      "eyJ",
      "'",
      "%00",
    ),
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.stringMatching(/^[\w.~+/-]{1,300}=*$/),
  ),
  { maxLength: 8 },
);

test("whatever the header holds, it is one clean token or malformed, and never no credential at all", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(pieces, fc.boolean(), (parts, scheme) => {
      const header = (scheme ? "Bearer " : "") + parts.join("");
      const read = readBearer(header);
      seen.add(read.kind);
      if (read.kind === "malformed") return;
      expect(read.kind).not.toBe("none");
      if (read.kind === "none") return;
      expect(read.token).toMatch(/^[A-Za-z0-9\-._~+/]+=*$/);
      expect(read.token.length).toBeLessThanOrEqual(read.kind === "jwt" ? 4_096 : 256);
      expect(header.toLowerCase()).toMatch(/^bearer /);
      expect(header.endsWith(` ${read.token}`)).toBe(true);
    }),
    { numRuns: 20_000 },
  );
  expect(seen).toContain("key");
  expect(seen).toContain("malformed");
});

test("a header of any length is read in time that does not run away", () => {
  for (const filler of [" ", "a", ".", "=", "a.", "a="]) {
    expect(readBearer(`Bearer ${filler.repeat(1_000_000)}`)).toEqual(malformed);
  }
});
