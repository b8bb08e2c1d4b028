import { PaymentPayloadV1Schema, PaymentPayloadV2Schema } from "@x402/core/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { paymentPayloadV1, paymentPayloadV2 } from "../../server/payment/payment-schemas.ts";
import { payload, payloadV1 } from "./wire-payload.ts";

/** With everything that may be there. */
const full = {
  ...payload,
  resource: {
    url: "https://example.com/agent",
    description: "",
    mimeType: "application/json",
    serviceName: "An agent",
    tags: ["one", "two"],
    iconUrl: "https://example.com/icon.png",
  },
};

type Json = fc.JsonValue;

/** Every place in a value, as a list of keys. */
function placesIn(value: unknown, at: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, item]) => placesIn(item, [...at, key]))];
}

/** The value with another one at this place; undefined takes it away. */
function withValue(value: unknown, [key, ...rest]: readonly string[], other: unknown): unknown {
  if (key === undefined) return other;
  const copy = structuredClone(value) as Record<string, unknown>;
  const inner = withValue(copy[key], rest, other);
  if (inner === undefined) delete copy[key];
  else copy[key] = inner;
  return copy;
}

/** Near the limits of what the schemas take, and anything else. */
const others: fc.Arbitrary<Json | undefined> = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    undefined,
    null,
    "",
    " ",
    "a:",
    "ab:",
    "é",
    "a".repeat(32),
    "a".repeat(33),
    0,
    -1,
    0.5,
    1,
    2,
  ),
  fc.constantFrom("a".repeat(2_048), "a".repeat(2_049)),
  fc.array(fc.constantFrom("tag", "", "é", "a".repeat(33)), { maxLength: 7 }),
  fc.constantFrom(Array<string>(5).fill("tag"), Array<string>(6).fill("tag")),
);

/** Absent, undefined and null are one to whoever reads it. */
function withoutAbsent(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const present = Object.entries(value).filter(([, item]) => item !== undefined && item !== null);
  return Object.fromEntries(present.map(([key, item]) => [key, withoutAbsent(item)]));
}

test.each([
  { name: "v2", base: full, official: PaymentPayloadV2Schema, ours: paymentPayloadV2 },
  { name: "v1", base: payloadV1, official: PaymentPayloadV1Schema, ours: paymentPayloadV1 },
])("$name: what the official schema takes is taken, and read the same", ({ base, official, ours }) => {
  const places = placesIn(base);
  const taken = { yes: 0, no: 0 };
  const property = fc.property(fc.constantFrom(...places), others, (place, other) => {
    const value = withValue(base, place, other);
    const [theirs, mine] = [official.safeParse(value), ours.safeParse(value)];
    expect(mine.success).toBe(theirs.success);
    taken[mine.success ? "yes" : "no"] += 1;
    if (theirs.success) expect(withoutAbsent(mine.data)).toEqual(withoutAbsent(theirs.data));
  });
  fc.assert(property, { numRuns: 10_000 });
  expect(Math.min(taken.yes, taken.no)).toBeGreaterThan(500);
});
