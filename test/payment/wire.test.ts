import { decodePaymentResponseHeader, encodePaymentSignatureHeader } from "@x402/core/http";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodePaymentHeader, encodePaymentResponse } from "../../server/payment/wire.ts";
import {
  accepted,
  decodeV1,
  decodeV2,
  encode,
  encodeText,
  malformed,
  options,
  payload,
  payloadV1,
  transaction,
} from "./wire-payload.ts";

/** x402-specification-v2.md §5.2.1, verbatim. */
const SPECIFICATION_EXAMPLE = `{
  "x402Version": 2,
  "resource": {
    "url": "https://api.example.com/premium-data",
    "description": "Access to premium market data",
    "mimeType": "application/json"
  },
  "accepted": {
  "scheme": "exact",
    "network": "eip155:84532",
    "amount": "10000",
    "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
    "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
    "maxTimeoutSeconds": 60,
    "extra": {
      "name": "USDC",
      "version": "2"
    }
  },
  "payload": {
    "signature": "0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c",
    "authorization": {
      "from": "0x857b06519E91e3A54538791bDbb0E22373e36b66",
      "to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
      "value": "10000",
      "validAfter": "1740672089",
      "validBefore": "1740672154",
      "nonce": "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"
    }
  },
  "extensions": {}
}`;

/** scheme_exact_svm.md, "Full `PaymentPayload` object", verbatim. */
const SVM_EXAMPLE = `{
  "x402Version": 2,
  "resource": {
    "url": "https://example.com/weather",
    "description": "Access to protected content",
    "mimeType": "application/json"
  },
  "accepted": {
    "scheme": "exact",
    "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    "amount": "1000",
    "asset": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "payTo": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
    "maxTimeoutSeconds": 60,
    "extra": {
      "feePayer": "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd",
      "memo": "pi_3abc123def456"
    }
  },
  "payload": {
    "transaction": "AAAAAAAAAAAAA...AAAAAAAAAAAAA="
  }
}`;

describe("the specification's examples", () => {
  test("the core's: everything is read, and only its EVM payload refused", () => {
    expect(decodeV2(encodeText(SPECIFICATION_EXAMPLE))).toEqual(malformed("transaction"));
    const example = { ...JSON.parse(SPECIFICATION_EXAMPLE), payload: { transaction } };
    expect(decodeV2(encode(example))).toMatchObject({ kind: "v2", payload: example, transaction });
  });

  test("the SVM scheme's: the dots are no base64, with a transaction it is read", () => {
    expect(decodeV2(encodeText(SVM_EXAMPLE))).toEqual(malformed("transaction"));
    const example = { ...JSON.parse(SVM_EXAMPLE), payload: { transaction } };
    expect(decodeV2(encode(example))).toEqual({
      kind: "v2",
      payload: example,
      transaction,
      token: undefined,
      memo: "pi_3abc123def456",
      identifier: undefined,
    });
  });

  test("the HTTP transport's settlement response", () => {
    const response = {
      success: true,
      transaction: "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
      network: "eip155:84532",
      payer: "0x857b06519E91e3A54538791bDbb0E22373e36b66",
    };
    expect(encodePaymentResponse(response)).toBe(
      "eyJzdWNjZXNzIjp0cnVlLCJ0cmFuc2FjdGlvbiI6IjB4MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWYxMjM0NTY3ODkwYWJjZGVmMTIzNDU2Nzg5MGFiY2RlZiIsIm5ldHdvcmsiOiJlaXAxNTU6ODQ1MzIiLCJwYXllciI6IjB4ODU3YjA2NTE5RTkxZTNBNTQ1Mzg3OTFiRGJiMEUyMjM3M2UzNmI2NiJ9",
    );
    expect(decodePaymentResponseHeader(encodePaymentResponse(response))).toEqual(response);
  });
});

describe("which header counts", () => {
  test.each([
    ["none", {}, "none"],
    ["v2", { "payment-signature": encode(payload) }, "v2"],
    ["v1", { "x-payment": encode(payloadV1) }, "v1"],
    ["both: v2", { "payment-signature": encode(payload), "x-payment": encode(payloadV1) }, "v2"],
    ["both, v1 broken: v2", { "payment-signature": encode(payload), "x-payment": "!" }, "v2"],
    ["both, v2 broken", { "payment-signature": "!", "x-payment": encode(payloadV1) }, "malformed"],
    ["an empty one", { "payment-signature": "" }, "malformed"],
    ["v2 twice", { "payment-signature": `${encode(payload)}, ${encode(payload)}` }, "malformed"],
    ["v1 twice", { "x-payment": `${encode(payloadV1)}, ${encode(payloadV1)}` }, "malformed"],
    ["a list", { "payment-signature": [encode(payload)] }, "malformed"],
    ["v1 in the v2 header", { "payment-signature": encode(payloadV1) }, "unsupported_version"],
    ["v2 in the v1 header", { "x-payment": encode(payload) }, "unsupported_version"],
    ["version 3", { "payment-signature": encode({ ...payload, x402Version: 3 }) }, "unsupported_version"],
  ])("%s", (_, headers: Record<string, unknown>, kind) => {
    expect(decodePaymentHeader(headers as Record<string, string>, options).kind).toBe(kind);
  });

  test("v1 switched off", () => {
    const off = { ...options, v1: false };
    expect(decodePaymentHeader({ "x-payment": encode(payloadV1) }, off).kind).toBe("unsupported_version");
    expect(decodePaymentHeader({ "payment-signature": encode(payload) }, off).kind).toBe("v2");
  });

  test("what the official client writes comes out as it went in", () => {
    expect(decodeV2(encodePaymentSignatureHeader(payload))).toEqual({
      kind: "v2",
      payload,
      transaction,
      token: "the token",
      memo: "the memo",
      identifier: undefined,
    });
    expect(decodeV1(encode(payloadV1))).toEqual({ kind: "v1", payload: payloadV1, transaction });
  });
});

describe("a broken encoding is malformed", () => {
  const text = JSON.stringify({ ...payload, payload: { transaction, mark: "??>>??>>??>>" } });
  // Padded, and of characters that base64url writes otherwise.
  const whole = encodeText(text + " ".repeat((4 - (text.length % 3)) % 3));
  const deep = (depth: number) =>
    `${'{"x402Version":2,"extensions":'}${"[".repeat(depth)}${"]".repeat(depth)}}`;
  test.each([
    ["base64", "no padding", whole.replace(/=+$/, "")],
    ["base64", "base64url", Buffer.from(whole, "base64").toString("base64url")],
    ["base64", "a blank", ` ${whole}`],
    ["base64", "a character of no alphabet", `*${whole.slice(1)}`],
    ["base64", "unused bits set", "e31="],
    ["length", "too long", encodeText(" ".repeat(9_300))],
    ["utf8", "not UTF-8", Buffer.from([0x22, 0xc3, 0x28, 0x22]).toString("base64")],
    ["json", "nothing but text", encodeText("hello")],
    ["json", "half a document", encodeText(text.slice(0, 200))],
    ["json", "a number beyond a double", encodeText(text.replace("2.5", "1e999"))],
    ["json", "a key __proto__", encodeText(text.replace('"bazaar"', '"__proto__"'))],
    ["json", "the same, escaped", encodeText(text.replace('"bazaar"', '"\\u005f_proto__"'))],
    ["json", "deep nesting", encodeText(deep(64))],
    ["json", "deepest nesting", encodeText(deep(4_000))],
    ["shape", "null", encode(null)],
    ["shape", "a list", encode([payload])],
    ["shape", "a string", encode("x402")],
    ["x402Version", "no version", encode({ ...payload, x402Version: undefined })],
    ["x402Version", "a version as text", encode({ ...payload, x402Version: "2" })],
    ["x402Version", "a fractional version", encode({ ...payload, x402Version: 2.5 })],
    ["x402Version", "a huge version", encodeText(text.replace('"x402Version":2', '"x402Version":1e300'))],
  ])("%s: %s", (reason, _, header) => {
    expect(decodeV2(whole).kind).toBe("v2");
    expect(decodeV2(header)).toEqual(malformed(reason));
  });
});

describe("random headers are never a throw", () => {
  const kinds = ["none", "malformed", "unsupported_version", "v1", "v2"];
  const decodesToSomething = (header: string) => {
    for (const decoded of [decodeV2(header), decodeV1(header)]) {
      expect(kinds).toContain(decoded.kind);
      // What was read can be sent on.
      if (decoded.kind === "v2" || decoded.kind === "v1") JSON.stringify(decoded.payload);
    }
  };

  test("any text, any bytes, any JSON", () => {
    const headers = fc.oneof(
      fc.string({ unit: "binary", maxLength: 400 }),
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes).toString("base64")),
      fc.json({ maxDepth: 6 }).map(encodeText),
    );
    fc.assert(fc.property(headers, decodesToSomething), { numRuns: 4_000 });
  });

  test("a valid payload with one value replaced by anything", () => {
    const paths = ["x402Version", "resource", "accepted", "payload", "extensions", "scheme", "network"];
    const headers = fc
      .tuple(fc.constantFrom(payload, payloadV1), fc.constantFrom(...paths), fc.jsonValue(), fc.boolean())
      .map(([base, name, value, inner]) => {
        const target: Record<string, unknown> = { ...base };
        target[name] = inner ? { ...accepted, transaction, [name]: value, extra: value } : value;
        return encode(target);
      });
    fc.assert(fc.property(headers, decodesToSomething), { numRuns: 4_000 });
  });

  test("a valid header with characters changed, cut or added", () => {
    const header = encode(payload);
    const bends = fc.record({
      at: fc.nat(header.length),
      remove: fc.nat(4),
      insert: fc.oneof(fc.base64String({ maxLength: 8 }), fc.string({ maxLength: 3 })),
    });
    const property = fc.property(bends, ({ at, remove, insert }) => {
      decodesToSomething(header.slice(0, at) + insert + header.slice(at + remove));
    });
    fc.assert(property, { numRuns: 4_000 });
  });
});
