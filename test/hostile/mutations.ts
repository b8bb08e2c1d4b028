import fc from "fast-check";
import { encode } from "./forger.ts";

type Json = Record<string, unknown>;

/** Where each leaf of a JSON value is. */
function leaves(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [[...path]];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, [...path, key]));
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Json)[key], value);
}

/** A copy with another value at this place; undefined removes it. */
function put(value: unknown, [key, ...rest]: readonly string[], item: unknown): unknown {
  if (key === undefined) return item;
  return { ...(value as Json), [key]: put((value as Json)[key], rest, item) };
}

const SIGNATURE_OF_FEE_PAYER = { start: 1, end: 65 };
const TODAYS_TERMS = { network: "", scheme: "", maxTimeoutSeconds: 0 };

/**
 * What a payment says, but for the fee payer's signature (it is not there yet, so nobody looks at it) and, of a recorded one,
 * the terms that are compared with today's only before it is claimed.
 */
export function meaning(header: string, recorded: boolean): string {
  const bytes = Buffer.from(header, "base64");
  if (bytes.toString("base64") !== header) return "not canonical";
  try {
    const value = JSON.parse(bytes.toString("utf8"));
    const transaction = Buffer.from(value.payload.transaction, "base64");
    transaction.fill(0, SIGNATURE_OF_FEE_PAYER.start, SIGNATURE_OF_FEE_PAYER.end);
    const said = {
      ...value,
      payload: { transaction: transaction.toString("base64") },
      accepted: { ...value.accepted, ...(recorded ? TODAYS_TERMS : {}) },
    };
    return JSON.stringify(said, Object.keys(sortable(said)).sort());
  } catch {
    return "no payment";
  }
}

/** Every key that occurs anywhere, so that the order of keys means nothing. */
function sortable(value: unknown): Json {
  if (typeof value !== "object" || value === null) return {};
  return Object.assign({ ...value }, ...Object.values(value).map(sortable));
}

/** A place, as a fraction of the whole. Not `fc.double`: most of its values are next to 0, so only beginnings would be hit. */
const position = fc.noBias(fc.nat(999_999)).map((millionths) => millionths / 1_000_000);

type Edit = (text: string) => string;

const textEdit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(position, fc.integer({ min: 0x20, max: 0x7e })).map(([where, code]): Edit => {
    return (text) => splice(text, where, 1, String.fromCharCode(code));
  }),
  position.map(
    (where): Edit =>
      (text) =>
        splice(text, where, 1, ""),
  ),
  fc.tuple(position, fc.string({ minLength: 1, maxLength: 8 })).map(([where, more]): Edit => {
    return (text) => splice(text, where, 0, more);
  }),
  position.map(
    (where): Edit =>
      (text) =>
        text.slice(0, Math.floor(where * text.length)),
  ),
);

function splice(text: string, where: number, remove: number, insert: string): string {
  const index = Math.floor(where * text.length);
  return text.slice(0, index) + insert + text.slice(index + remove);
}

/** Changes one bit of the signed transaction. */
const bitFlip = fc.tuple(position, fc.nat(7)).map(([where, bit]) => (payment: unknown): unknown => {
  const path = ["payload", "transaction"];
  const bytes = Buffer.from(String(at(payment, path)), "base64");
  const index = Math.floor(where * bytes.length);
  bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
  return put(payment, path, bytes.toString("base64"));
});

/** Puts something else into one field, or another field's value, or nothing. */
const fieldChange = fc
  .tuple(position, position, fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.string()), fc.boolean())
  .map(([where, from, value, swap]) => (payment: unknown): unknown => {
    const places = leaves(payment);
    const place = places[Math.floor(where * places.length)] ?? [];
    const source = places[Math.floor(from * places.length)] ?? [];
    return put(payment, place, swap ? at(payment, source) : value);
  });

/** Makes a header out of an honest payment. */
export type Make = (payment: unknown) => string;

/** Everything that a forger could think of, and much that nobody would. */
export const mutation: fc.Arbitrary<Make> = fc.oneof(
  {
    weight: 2,
    arbitrary: textEdit.map(
      (edit): Make =>
        (payment) =>
          edit(encode(payment)),
    ),
  },
  {
    weight: 3,
    arbitrary: textEdit.map(
      (edit): Make =>
        (payment) => {
          return Buffer.from(edit(JSON.stringify(payment)), "utf8").toString("base64");
        },
    ),
  },
  {
    weight: 3,
    arbitrary: bitFlip.map(
      (change): Make =>
        (payment) =>
          encode(change(payment)),
    ),
  },
  {
    weight: 3,
    arbitrary: fieldChange.map(
      (change): Make =>
        (payment) =>
          encode(change(payment)),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 200 }).map(
      (text): Make =>
        () =>
          text,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.jsonValue().map(
      (value): Make =>
        () =>
          encode(value) ?? "",
    ),
  },
);

/** As it arrives: no characters beyond latin1, no blanks around it. */
export function printable(value: string): string {
  return value.replace(/[^\x20-\x7e\x80-\xff]/g, "?").trim();
}
