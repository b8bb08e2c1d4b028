import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mintKey, parseKey } from "../../server/ledger/keys.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Each of the first four is the beginning of another one. */
const NESTED = ["sk", "sk_", "sk-", "sk-sr", "sk-sr-", "sk-srt-", "sk_farebox_"];

function changedAt(text: string, at: number, character: string): string {
  return text.slice(0, at) + character + text.slice(at + 1);
}

describe("a key that was typed wrongly", () => {
  test("in any one place after the prefix, by any letter, is malformed", () => {
    const prefix = "sk_farebox_";
    const { secret } = mintKey(prefix);
    const passed: string[] = [];
    let tried = 0;
    for (let at = prefix.length; at < secret.length; at += 1) {
      for (const character of BASE62) {
        if (character === secret[at]) continue;
        tried += 1;
        const changed = changedAt(secret, at, character);
        if (parseKey(changed, [prefix]).kind !== "malformed") passed.push(changed);
      }
    }
    expect(passed).toEqual([]);
    expect(tried).toBe(38 * 61);
  });

  test("in its prefix is foreign, also where a shorter prefix is ours: never a key", () => {
    const prefix = "sk-srt-";
    const { secret } = mintKey(prefix);
    for (let at = 0; at < prefix.length; at += 1) {
      for (const character of `${BASE62}-_`) {
        if (character === prefix[at]) continue;
        const changed = changedAt(secret, at, character);
        expect(parseKey(changed, [prefix])).toEqual({ kind: "foreign" });
        expect(parseKey(changed, NESTED).kind).not.toBe("key");
      }
    }
  });

  test("by two letters that changed places is malformed", () => {
    for (let times = 0; times < 50; times += 1) {
      const { secret } = mintKey("sr_");
      for (let at = 3; at < secret.length - 1; at += 1) {
        const [one, two] = [secret[at] ?? "", secret[at + 1] ?? ""];
        if (one === two) continue;
        const changed = changedAt(changedAt(secret, at, two), at + 1, one);
        expect(parseKey(changed, ["sr_"])).toEqual({ kind: "malformed" });
      }
    }
  });
});

describe("prefixes that begin with one another", () => {
  test.each(NESTED)("a key of %s is its own, in whatever order they are configured", (own) => {
    const { secret } = mintKey(own);
    expect(parseKey(secret, NESTED)).toEqual({ kind: "key", prefix: own });
    expect(parseKey(secret, NESTED.toReversed())).toEqual({ kind: "key", prefix: own });
  });

  test("a key of the longer one is none of the shorter one alone", () => {
    expect(parseKey(mintKey("sk-srt-").secret, ["sk-"])).toEqual({ kind: "malformed" });
    expect(parseKey(mintKey("sk-sr-").secret, ["sk-srt-"])).toEqual({ kind: "foreign" });
  });
});

describe("any text at all", () => {
  test("is read without a throw, and is not a key", () => {
    const piece = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.array(fc.constantFrom("\ud800", "\udfff", "\0", "\r\n", "A", "9", "-"), { maxLength: 45 }),
    );
    const token = fc
      .tuple(fc.constantFrom("", ...NESTED), piece)
      .map(([prefix, rest]) => prefix + (typeof rest === "string" ? rest : rest.join("")));
    fc.assert(
      fc.property(token, (each) => {
        const ours = NESTED.some((prefix) => each.startsWith(prefix));
        expect(parseKey(each, NESTED)).toEqual({ kind: ours ? "malformed" : "foreign" });
      }),
      { numRuns: 10_000 },
    );
  });

  test("is foreign where no prefix is configured", () => {
    expect(parseKey(mintKey("sk_").secret, [])).toEqual({ kind: "foreign" });
  });
});
