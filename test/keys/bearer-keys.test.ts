import { createHash, createHmac } from "node:crypto";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashSecret, mintKey, parseKey } from "../../server/ledger/keys.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Some begin with one another. */
const PREFIXES = ["sr_", "sk_", "sk_farebox_", "sk_solrouter_", "sk-sr-", "sk-srt-", "sk-"];
const prefix = fc.constantFrom(...PREFIXES);

function crcText(body: string): string {
  let [rest, text] = [BigInt(crc32(body)), ""];
  for (; text.length < 6; rest /= 62n) text = BASE62[Number(rest % 62n)] + text;
  return text;
}

describe("a new key", () => {
  test.each(PREFIXES)("%s: 32 random base62 characters and the checksum of all before it", (own) => {
    const { secret, last4 } = mintKey(own);
    expect(secret).toMatch(new RegExp(`^${own}[0-9A-Za-z]{38}$`));
    expect(secret.slice(-6)).toBe(crcText(secret.slice(0, -6)));
    expect(last4).toBe(secret.slice(-4));
  });

  test("no two are the same, and every character is as likely as another", () => {
    const keys = Array.from({ length: 4_000 }, () => mintKey("").secret.slice(0, 32));
    expect(new Set(keys).size).toBe(keys.length);
    const counts = new Map<string, number>();
    for (const character of keys.join("")) counts.set(character, (counts.get(character) ?? 0) + 1);
    expect([...counts.keys()].sort().join("")).toBe(BASE62);
    const mean = (32 * keys.length) / 62;
    const deviations = [...counts.values()].map((count) => (count - mean) ** 2 / mean);
    // Chi-squared with 61 degrees of freedom is above 140 once in 10^7; a byte modulo 62 without rejection has 3,000.
    expect(deviations.reduce((total, each) => total + each)).toBeLessThan(140);
  });
});

describe("a token", () => {
  test("that was minted is a key under the prefix it was minted with, whatever else is configured", () => {
    fc.assert(
      fc.property(prefix, fc.shuffledSubarray(PREFIXES), (own, others) => {
        const { secret } = mintKey(own);
        expect(parseKey(secret, [...others, own])).toEqual({ kind: "key", prefix: own });
      }),
    );
  });

  test("that begins with no prefix is foreign", () => {
    const { secret } = mintKey("sk_other_");
    for (const token of ["", "s", "sk_farebo", "SK_FAREBOX_", ` ${mintKey("sk_farebox_").secret}`, secret]) {
      expect(parseKey(token, ["sk_farebox_", "sr_"])).toEqual({ kind: "foreign" });
    }
  });

  test.each([
    ["nothing after the prefix", () => "sk_farebox_"],
    ["one character too few", () => mintKey("sk_farebox_").secret.slice(0, -1)],
    ["one too many", () => `${mintKey("sk_farebox_").secret}0`],
    ["a line break at its end", () => `${mintKey("sk_farebox_").secret}\n`],
    ["another alphabet", () => mintKey("sk_farebox_").secret.replace(/.{6}$/, "-_-_-_")],
    ["the checksum of another prefix", () => mintKey("sk_fareboy_").secret.replace("fareboy", "farebox")],
    [
      "a checksum in the other case",
      () => `sk_farebox_${"A".repeat(32)}${swapCase(crcText(`sk_farebox_${"A".repeat(32)}`))}`,
    ],
    ["a megabyte", () => `sk_farebox_${"A".repeat(1_048_576)}`],
  ])("with %s is malformed", (_name, token) => {
    expect(parseKey(token(), ["sk_farebox_"])).toEqual({ kind: "malformed" });
  });

  test("with any one character changed is no key", () => {
    fc.assert(
      fc.property(
        prefix,
        fc.nat(),
        fc.constantFrom(...BASE62, "-", "_", "é", "\0"),
        (own, place, character) => {
          const { secret } = mintKey(own);
          const at = own.length + (place % (secret.length - own.length));
          const changed = secret.slice(0, at) + character + secret.slice(at + 1);
          const expected = changed === secret ? { kind: "key", prefix: own } : { kind: "malformed" };
          expect(parseKey(changed, [own])).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("of any form is one of the three, and only a right checksum is a key", () => {
    const text = fc.string({ unit: "binary", maxLength: 80 });
    const token = fc.oneof(
      text,
      fc.tuple(prefix, text).map(([own, rest]) => own + rest),
      fc.tuple(prefix, fc.stringMatching(/^[0-9A-Za-z]{38}$/)).map(([own, rest]) => own + rest),
    );
    fc.assert(
      fc.property(token, (each) => {
        const { kind } = parseKey(each, PREFIXES);
        const ours = PREFIXES.some((own) => each.startsWith(own));
        const right = ours && each.length > 38 && each.slice(-6) === crcText(each.slice(0, -6));
        if (!ours) expect(kind).toBe("foreign");
        else if (!right) expect(kind).toBe("malformed");
        else expect(["key", "malformed"]).toContain(kind);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the hash of a secret", () => {
  test("is SHA-256 without a pepper and HMAC-SHA-256 with one, in hex", () => {
    const { secret } = mintKey("sk_farebox_");
    expect(hashSecret(secret, undefined)).toBe(createHash("sha256").update(secret).digest("hex"));
    const peppered = createHmac("sha256", "pepper").update(secret).digest("hex");
    expect(hashSecret(secret, "pepper")).toBe(peppered);
    expect(hashSecret(secret, "other")).not.toBe(peppered);
    expect(hashSecret("abc", undefined)).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
  });
});

function swapCase(text: string): string {
  return text.replace(/[a-z]|[A-Z]/g, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );
}
