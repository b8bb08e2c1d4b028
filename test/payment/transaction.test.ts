import { createHash, randomBytes, sign } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { describe, expect, test } from "vitest";
import { associatedTokenAccount, decodeAddress } from "../../server/payment/solana-bytes.ts";
import { decodePayment, isSigned, matchTerms } from "../../server/payment/transaction.ts";
import {
  AMOUNT,
  account,
  accountOf,
  append,
  assertCall,
  build,
  draftPayment,
  type Edit,
  EURC,
  encodeMessage,
  limitCall,
  MEMO,
  memoCall,
  merchant,
  nonceCall,
  other,
  payer,
  priceCall,
  set,
  signMessage,
  splice,
  sponsor,
  TOKEN,
  TOKEN_2022,
  toBytes,
  transfer,
  transferData,
  USDC,
} from "./draft-transaction.ts";

const terms = { amount: AMOUNT.toString(), asset: USDC, payTo: merchant.address };
const MEMO_V1 = "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo";
const lookup = Buffer.concat([Buffer.from([1]), randomBytes(32), Buffer.from([1, 0, 0])]);

/** All steps that a new claim goes through. */
async function judge(wire: Buffer | string): Promise<string> {
  const result = decodePayment(typeof wire === "string" ? wire : wire.toString("base64"));
  if (!result.ok) return result.problem;
  if (!(await isSigned(result.payment))) return "signature";
  return matchTerms(result.payment, terms) ?? "ok";
}

describe("a bent transaction is refused though the payer signed it as it is", () => {
  test.each<[string, string, Edit]>([
    ["ok", "not bent at all", set({})],
    ["amount", "one unit less", transfer({ data: transferData(AMOUNT - 1n) })],
    ["amount", "one unit more", transfer({ data: transferData(AMOUNT + 1n) })],
    ["recipient", "another destination", account(2, accountOf(other))],
    ["recipient", "payTo itself instead of its token account", account(2, merchant.bytes)],
    [
      "recipient",
      "payTo's account of the other token program",
      account(2, accountOf(merchant, USDC, TOKEN_2022)),
    ],
    ["asset", "another mint", () => draftPayment(payer, EURC)],
    ["source", "a mint that is not the accounts'", account(1, toBytes(EURC))],
    ["source", "another account of the payer", account(0, randomBytes(32))],
    ["source", "somebody else's account", account(0, accountOf(other))],
    ["signers", "an authority that does not sign", account(3, other.bytes)],
    ["signers", "a third signer", set({ signers: [sponsor, payer, other] })],
    ["signers", "a fee payer only", set({ signers: [sponsor] })],
    ["fee_payer", "the payer pays the fee", set({ signers: [payer] })],
    ["fee_payer", "the fee payer is the source", account(0, sponsor.bytes)],
    ["fee_payer", "the fee payer co-signs the transfer", account(4, sponsor.bytes)],
    ["layout", "a nonce is advanced first", splice(0, 0, nonceCall)],
    ["layout", "a nonce is advanced instead of setting the limit", splice(0, 1, nonceCall)],
    ["layout", "a nonce is advanced last", append(nonceCall)],
    ["layout", "a second transfer", (draft) => append(...draft.calls.slice(2, 3))(draft)],
    ["layout", "two memos", append(memoCall("again"))],
    ["layout", "the same memo twice", (draft) => append(...draft.calls.slice(3))(draft)],
    ["layout", "the old memo program", splice(3, 1, memoCall("m", MEMO_V1))],
    ["layout", "a memo that is not UTF-8", splice(3, 1, memoCall(Buffer.from([0xff])))],
    ["layout", "eight instructions", append(assertCall, assertCall, assertCall, assertCall)],
    ["layout", "two instructions", splice(2, 2)],
    ["layout", "limit and price swapped", splice(0, 2, priceCall(1n), limitCall)],
    ["layout", "no price", splice(1, 1, limitCall)],
    ["layout", "too high a price", splice(1, 1, priceCall(5_000_001n))],
    ["layout", "a price by another program", splice(1, 1, { ...priceCall(1n), program: MEMO })],
    ["layout", "a limit by another program", splice(0, 1, { ...limitCall, program: MEMO })],
    ["layout", "a limit with more data", splice(0, 1, { ...limitCall, data: Buffer.alloc(6, 2) })],
    [
      "layout",
      "something else of a price's length",
      splice(1, 1, { ...limitCall, data: Buffer.alloc(9, 2) }),
    ],
    ["layout", "a heap frame request", splice(0, 1, { ...limitCall, data: Buffer.alloc(5, 1) })],
    ["layout", "an unchecked transfer", transfer({ data: transferData(AMOUNT, 3) })],
    ["layout", "a burn", transfer({ data: transferData(AMOUNT, 15) })],
    ["layout", "a transfer with more data", transfer({ data: Buffer.alloc(11, 12) })],
    ["layout", "a transfer with three accounts", account(3)],
    ["layout", "a transfer by another program", transfer({ program: MEMO })],
    ["layout", "a lookup table", set({ lookups: lookup })],
    ["malformed", "a byte after the message", set({ tail: Buffer.from([0]) })],
    ["malformed", "no end", set({ lookups: Buffer.alloc(0) })],
    ["malformed", "a length in its longer form", set({ lookups: Buffer.from([0x80, 0]) })],
    ["malformed", "more signatures than signers", set({ header: ([n, s, o]) => [n - 1, s, o] })],
    ["malformed", "more signers than signatures", set({ header: ([n, s, o]) => [n + 1, s, o] })],
    ["malformed", "a read-only fee payer", set({ header: ([n, , o]) => [n, n, o] })],
    ["malformed", "more read-only accounts than there are", set({ header: ([n, s]) => [n, s, 99] })],
  ])("%s: %s", async (problem, _, edit) => {
    expect(await judge(build(edit))).toBe(problem);
  });

  test.each([
    ["program", -6, 0],
    ["program", -6, 200],
    ["first account", -4, 200],
    ["last account", -2, 200],
  ])("malformed: the %s's index is out of range", async (_, offset, index) => {
    const message = encodeMessage(draftPayment());
    message.writeUInt8(index, message.indexOf(transferData(AMOUNT)) - 1 + offset);
    expect(await judge(signMessage(message))).toBe("malformed");
  });

  test.each([true, false])(
    "malformed: a message that begins with a version nobody knows",
    async (versioned) => {
      const message = encodeMessage({ ...draftPayment(), versioned });
      expect(await judge(signMessage(message))).toBe("ok");
      for (const prefix of [0x7f, 0x81, 0x82, 0xff]) {
        message.writeUInt8(prefix);
        expect(await judge(signMessage(message))).toBe("malformed");
      }
    },
  );
});

describe("a signature that is not the payer's over this message is refused", () => {
  const message = encodeMessage(draftPayment());
  const signature = sign(null, message, payer.key);
  const wire = (fee: Buffer, own: Buffer) => Buffer.concat([Buffer.from([2]), fee, own, message]);
  const none = Buffer.alloc(64);

  test.each<[string, Edit, string]>([
    ["the amount", transfer({ data: transferData(1n) }), "signature"],
    ["the destination", account(2, accountOf(other)), "signature"],
    ["the mint", account(1, toBytes(EURC)), "source"],
    ["the source", account(0, accountOf(other)), "source"],
    ["the memo", splice(3, 1, memoCall("Y2hhbGxlbmdlIG1lbW8h")), "signature"],
    ["the price", splice(1, 1, priceCall(2n)), "signature"],
    ["the fee payer", set({ signers: [merchant, payer] }), "signature"],
  ])("%s changed after signing", async (_, edit, problem) => {
    const bent = encodeMessage(edit(draftPayment()));
    expect(await judge(Buffer.concat([Buffer.from([2]), none, signature, bent]))).toBe(problem);
  });

  test("somebody else's, none, and the payer's in the fee payer's place", async () => {
    expect(await judge(wire(none, signature))).toBe("ok");
    expect(await judge(wire(none, sign(null, message, other.key)))).toBe("signature");
    expect(await judge(wire(none, none))).toBe("signature");
    expect(await judge(wire(signature, none))).toBe("signature");
  });

  test("the fee payer's signature changes neither the verdict nor the id", async () => {
    const signed = wire(sign(null, message, sponsor.key), signature).toString("base64");
    expect(decodePayment(signed)).toEqual(decodePayment(wire(none, signature).toString("base64")));
    expect(await judge(signed)).toBe("ok");
  });

  const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = (bytes: Buffer) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  const little = (value: bigint) => Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();

  test("the second form of a valid one (S + L)", async () => {
    const s = little(scalar(signature.subarray(32)) + ORDER);
    expect(await judge(wire(none, Buffer.concat([signature.subarray(0, 32), s])))).toBe("signature");
  });

  const neutral = little(1n);
  const secret = createHash("sha512").update(payer.seed).digest().subarray(0, 32);
  secret.writeUInt8(secret.readUInt8(0) & 248);
  secret.writeUInt8((secret.readUInt8(31) & 63) | 64, 31);
  /** By the equation alone, as Node 20 checks it too; newer versions are stricter. */
  const isMade = (key: Buffer, signed: Buffer, made: Buffer) =>
    ed25519.verify(made, signed, key, { zip215: true });

  test("one whose R is of small order: the equation holds, the chain refuses it", async () => {
    const challenge = createHash("sha512").update(neutral).update(payer.bytes).update(message).digest();
    const made = Buffer.concat([neutral, little((scalar(challenge) * scalar(secret)) % ORDER)]);
    expect(isMade(payer.bytes, message, made)).toBe(true);
    expect(await judge(wire(none, made))).toBe("signature");
  });

  test("one by a key of small order, which anybody can make", async () => {
    const nobody = { ...payer, bytes: neutral };
    const source = associatedTokenAccount(neutral, toBytes(USDC), toBytes(TOKEN)) ?? none;
    const edits = [set({ signers: [sponsor, nobody] }), account(0, source), account(3, neutral)];
    const bent = encodeMessage(edits.reduce((draft, edit) => edit(draft), draftPayment()));
    const made = Buffer.concat([payer.bytes, little(scalar(secret) % ORDER)]);
    expect(isMade(neutral, bent, made)).toBe(true);
    expect(await judge(Buffer.concat([Buffer.from([2]), none, made, bent]))).toBe("signature");
  });
});

test("more owners than are remembered: their token accounts stay what they were", () => {
  const owner = (index: number) => createHash("sha256").update(String(index)).digest();
  const derive = (index: number) => associatedTokenAccount(owner(index), toBytes(USDC), toBytes(TOKEN_2022));
  const first = derive(0);
  const distinct = new Set(Array.from({ length: 4_200 }, (_, index) => derive(index)?.toString("hex")));
  expect(distinct.size).toBe(4_200);
  expect(derive(0)).toEqual(first);
});

test("a packet has room for 1232 bytes", async () => {
  const room = 1232 - build(splice(3, 1, memoCall("m".repeat(200)))).length;
  const filled = (extra: number) => build(splice(3, 1, memoCall("m".repeat(200 + room + extra))));
  expect([filled(0).length, await judge(filled(0))]).toEqual([1232, "ok"]);
  expect([filled(1).length, await judge(filled(1))]).toEqual([1233, "malformed"]);
});

describe("base64 has one form", () => {
  const text = build(append(assertCall)).toString("base64");

  test.each([
    ["nothing", ""],
    ["a blank at the end", `${text} `],
    ["a line break inside", `${text.slice(0, 76)}\n${text.slice(76)}`],
    ["base64url", Buffer.from(text, "base64").toString("base64url")],
    ["too much padding", `${text}====`],
    ["another alphabet", `*${text.slice(1)}`],
    ["wide characters", `${text.slice(0, -4)}\u0141\u0141\u0141\u0141`],
    ["unused bits that are set", "AAB="],
    ["more than a packet", "A".repeat(1_648)],
  ])("%s is malformed", async (_, bent) => {
    expect(await judge(text)).toBe("ok");
    expect(await judge(bent)).toBe("malformed");
  });
});

test.each([
  "",
  "1".repeat(31),
  "1".repeat(33),
  "z".repeat(44),
  `${USDC}1`,
  USDC.replace("E", "0"),
  "\u00e9".repeat(40),
])("%j as payTo or asset of the terms is a mismatch, not a throw", (text) => {
  const result = decodePayment(build().toString("base64"));
  if (!result.ok) throw new Error(result.problem);
  expect(decodeAddress(text)).toBeUndefined();
  expect(matchTerms(result.payment, { ...terms, payTo: text })).toBe("recipient");
  expect(matchTerms(result.payment, { ...terms, asset: text })).toBe("asset");
});

test.each(["20000.0", "020000", "2e4", " 20000", "0x4e20", "", "abc"])(
  "%j is not the amount 20000",
  (amount) => {
    const result = decodePayment(build().toString("base64"));
    if (!result.ok) throw new Error(result.problem);
    expect(matchTerms(result.payment, { ...terms, amount })).toBe("amount");
  },
);
