import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createProviderKeyBox } from "../../server/provider-keys.ts";

/** A customer's own upstream key: of use to that customer's calls alone, whoever holds the ledger. */
const SECRET = "sk-proj-0123456789abcdefWXYZ";

function masterKey() {
  const key = randomBytes(32);
  return { id: createHash("sha256").update(key).digest("hex").slice(0, 8), key };
}

const old = masterKey();
const fresh = masterKey();
const box = createProviderKeyBox([old]);

test("it opens for the account and provider it was sealed for, and shows its last four", () => {
  const sealed = box.seal("acct_1", "openai", SECRET);
  expect(box.open("acct_1", "openai", sealed)).toBe(SECRET);
  expect(sealed).toMatchObject({ masterKeyId: old.id, last4: "WXYZ" });
  expect(Buffer.from(sealed.sealed).includes(SECRET)).toBe(false);
  expect(JSON.stringify(sealed)).not.toContain(SECRET);
});

test("a key is outdated under a master key that was rotated, and unusable once that is gone", () => {
  const sealed = box.seal("acct_1", "openai", SECRET);
  const standing = (keys: Parameters<typeof createProviderKeyBox>[0]) => {
    const later = createProviderKeyBox(keys);
    return [later.statusOf(sealed.masterKeyId), later.open("acct_1", "openai", sealed) === SECRET];
  };
  expect(standing([old])).toEqual(["active", true]);
  expect(standing([fresh, old])).toEqual(["outdated", true]);
  expect(standing([fresh])).toEqual(["unusable", false]);
  expect(standing([])).toEqual(["unusable", false]);
});

test("the same secret is never sealed to the same bytes", () => {
  const ivs = Array.from({ length: 1_000 }, () =>
    Buffer.from(box.seal("acct_1", "openai", SECRET).sealed.subarray(0, 12)).toString("hex"),
  );
  expect(new Set(ivs).size).toBe(1_000);
});

test.each([
  ["another account", "acct_2", "openai"],
  ["another provider", "acct_1", "groq"],
  ["both swapped", "openai", "acct_1"],
  ["a shifted border", 'acct_1","openai', ""],
])("it does not open for %s", (_, account, provider) => {
  expect(box.open(account, provider, box.seal("acct_1", "openai", SECRET))).toBeUndefined();
});

test("with two master keys the newest seals and both open", () => {
  const rotating = createProviderKeyBox([fresh, old]);
  const before = box.seal("acct_1", "openai", SECRET);
  const after = rotating.seal("acct_1", "openai", SECRET);
  expect(after.masterKeyId).toBe(fresh.id);
  expect(rotating.open("acct_1", "openai", before)).toBe(SECRET);
  expect(rotating.open("acct_1", "openai", after)).toBe(SECRET);
  expect(createProviderKeyBox([fresh]).open("acct_1", "openai", before)).toBeUndefined();
});

test("a box that claims another master key does not open", () => {
  const rotating = createProviderKeyBox([fresh, old]);
  const sealed = box.seal("acct_1", "openai", SECRET);
  expect(rotating.open("acct_1", "openai", { ...sealed, masterKeyId: fresh.id })).toBeUndefined();
  const sameKey = createProviderKeyBox([old, { id: "alias", key: old.key }]);
  expect(sameKey.open("acct_1", "openai", { ...sealed, masterKeyId: "alias" })).toBeUndefined();
});

test("any change of a bit, and any cut, is noticed", () => {
  const sealed = box.seal("acct_1", "openai", SECRET);
  fc.assert(
    fc.property(fc.nat(sealed.sealed.length - 1), fc.nat(7), (at, bit) => {
      const changed = Uint8Array.from(sealed.sealed);
      changed[at] = (changed[at] ?? 0) ^ (1 << bit);
      expect(box.open("acct_1", "openai", { ...sealed, sealed: changed })).toBeUndefined();
      const cut = { ...sealed, sealed: sealed.sealed.subarray(0, at) };
      expect(box.open("acct_1", "openai", cut)).toBeUndefined();
      const late = { ...sealed, sealed: sealed.sealed.subarray(at + 1) };
      expect(box.open("acct_1", "openai", late)).toBeUndefined();
    }),
    { numRuns: 500 },
  );
});

test("without a master key nothing is sealed and nothing opens", () => {
  const none = createProviderKeyBox([]);
  expect(() => none.seal("acct_1", "openai", SECRET)).toThrow(
    expect.objectContaining({ code: "provider_key_unusable" }),
  );
  expect(none.open("acct_1", "openai", box.seal("acct_1", "openai", SECRET))).toBeUndefined();
});

test.each([
  ["nothing", ""],
  ["a header of its own", "sk-1\r\nx-evil: 1"],
  ["blanks", "sk 1"],
  ["letters beyond ASCII", "sk-ü"],
  ["too much", "k".repeat(1_025)],
])("refused as a provider key: %s, without repeating it", (_, secret) => {
  expect(() => box.seal("acct_1", "openai", secret)).toThrow(
    expect.objectContaining({ code: "invalid_request", message: expect.not.stringContaining("evil") }),
  );
});

test("of a short secret nothing is shown", () => {
  expect(box.seal("acct_1", "openai", "short-secret").last4).toBe("");
});
