import type { PaymentRequirements } from "@x402/core/types";
import {
  appendPaymentIdentifierToExtensions,
  declarePaymentIdentifierExtension,
  isValidPaymentId,
} from "@x402/extensions/payment-identifier";
import { describe, expect, test } from "vitest";
import { acceptedMatches } from "../../server/payment/wire.ts";
import {
  accepted,
  decodeV1,
  decodeV2,
  encode,
  malformed,
  payload,
  payloadV1,
  transaction,
} from "./wire-payload.ts";

describe("a field of the wrong kind is malformed", () => {
  const withAccepted = (change: Record<string, unknown>) => ({ accepted: { ...accepted, ...change } });
  const withExtra = (change: Record<string, unknown>) =>
    withAccepted({ extra: { ...accepted.extra, ...change } });
  test.each<[string, Record<string, unknown>]>([
    ["shape", { accepted: undefined }],
    ["shape", { accepted: [accepted] }],
    ["shape", withAccepted({ amount: 20_000 })],
    ["shape", withAccepted({ amount: "" })],
    ["shape", withAccepted({ payTo: null })],
    ["shape", withAccepted({ maxTimeoutSeconds: "60" })],
    ["shape", withAccepted({ maxTimeoutSeconds: -1 })],
    ["shape", withAccepted({ extra: "extra" })],
    ["shape", withAccepted({ network: "solana" })],
    ["network", withAccepted({ network: "solana:a:b" })],
    ["network", withAccepted({ network: "solana:" })],
    ["extra", withExtra({ token: 1 })],
    ["extra", withExtra({ memo: { length: 24 } })],
    ["shape", { payload: undefined }],
    ["shape", { payload: transaction }],
    ["transaction", { payload: {} }],
    ["transaction", { payload: { transaction: 5 } }],
    ["transaction", { payload: { transaction: "" } }],
    ["transaction", { payload: { transaction: [transaction] } }],
    ["transaction", { payload: { transaction: "AAA" } }],
    ["transaction", { payload: { transaction: "AA A" } }],
    ["transaction", { payload: { transaction: "A".repeat(1_648) } }],
    ["shape", { resource: "https://example.com" }],
    ["shape", { extensions: [] }],
  ])("%s: %j", (reason, change) => {
    expect(decodeV2(encode({ ...payload, ...change }))).toEqual(malformed(reason));
  });

  test.each<[string, Record<string, unknown>]>([
    ["shape", { scheme: "" }],
    ["shape", { network: 5 }],
    ["shape", { payload: null }],
    ["transaction", { payload: { transaction: "no" } }],
  ])("v1, %s: %j", (reason, change) => {
    expect(decodeV1(encode({ ...payloadV1, ...change }))).toEqual(malformed(reason));
  });

  test("a client that sends null for what is optional is understood", () => {
    const sparse = { ...payload, resource: null, extensions: null, accepted: { ...accepted, extra: null } };
    expect(decodeV2(encode(sparse))).toMatchObject({
      kind: "v2",
      payload: { x402Version: 2, accepted: { ...accepted, extra: {} }, payload: { transaction } },
      token: undefined,
    });
  });
});

describe("payment-identifier", () => {
  const withIdentifier = (extension: unknown) =>
    decodeV2(encode({ ...payload, extensions: { "payment-identifier": extension } }));

  test("the id that the official extension appends", () => {
    const extensions = { "payment-identifier": declarePaymentIdentifierExtension(true) };
    appendPaymentIdentifierToExtensions(extensions, "order-2024_000001");
    expect(decodeV2(encode({ ...payload, extensions }))).toMatchObject({ identifier: "order-2024_000001" });
  });

  test("our declaration, echoed without an id, is no identifier", () => {
    expect(withIdentifier(declarePaymentIdentifierExtension())).toMatchObject({
      kind: "v2",
      identifier: undefined,
    });
  });

  test.each([
    "a".repeat(16),
    "a".repeat(15),
    "Z-_9".repeat(32),
    "a".repeat(129),
    "sixteen letters!",
    "sixteen letters\n",
    "\u00e9".repeat(16),
  ])("%j is judged as the official extension judges it", (id) => {
    const expected = isValidPaymentId(id) ? { kind: "v2", identifier: id } : malformed("payment-identifier");
    expect(withIdentifier({ info: { required: false, id } })).toMatchObject(expected);
  });

  test.each([
    null,
    "a".repeat(16),
    {},
    { info: null },
    { info: { id: "a".repeat(16) } },
    { info: { required: "no", id: "a".repeat(16) } },
    { info: { required: true, id: 1234567890123456 } },
    { info: { required: true, id: null } },
  ])("%j is malformed", (extension) => {
    expect(withIdentifier(extension)).toEqual(malformed("payment-identifier"));
  });
});

describe("accepted against requirements", () => {
  const asked: PaymentRequirements = { ...accepted, extra: { feePayer: accepted.extra["feePayer"] } };

  test.each<[string | undefined, Record<string, unknown>]>([
    [undefined, {}],
    ["scheme", { scheme: "upto" }],
    ["network", { network: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" }],
    ["asset", { asset: "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU" }],
    ["amount", { amount: "19999" }],
    ["payTo", { payTo: accepted.asset }],
    ["maxTimeoutSeconds", { maxTimeoutSeconds: 61 }],
    ["extra.feePayer", { extra: { feePayer: accepted.payTo } }],
    ["extra.feePayer", { extra: {} }],
  ])("%s differs", (field, change) => {
    expect(acceptedMatches({ ...accepted, ...change }, asked)).toBe(field);
  });

  test("extra is compared by value, and by its own keys", () => {
    const nested = { ...asked, extra: { features: { list: [1, 2] } } };
    expect(acceptedMatches({ ...asked, extra: { features: { list: [1, 2] } } }, nested)).toBeUndefined();
    expect(acceptedMatches({ ...asked, extra: { features: { list: [2, 1] } } }, nested)).toBe(
      "extra.features",
    );
    const inherited = { ...asked, extra: { toString: Object.prototype.toString } };
    expect(acceptedMatches({ ...asked, extra: {} }, inherited)).toBe("extra.toString");
  });
});
