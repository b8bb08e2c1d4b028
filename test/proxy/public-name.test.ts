import { expect, test } from "vitest";
import { underPublicName } from "../../server/proxy/public-name.ts";

const named = (text: string) => underPublicName(text, JSON.parse(text), "public");

test.each([
  [
    "numbers stay as they were written",
    '{"model": "m", "big": 12345678901234567890}',
    '{"model": "public", "big": 12345678901234567890}',
  ],
  [
    "a name in a text is text",
    '{"content":"\\"model\\":\\"m\\"","model":"m"}',
    '{"content":"\\"model\\":\\"m\\"","model":"public"}',
  ],
])("only the name is replaced: %s", (_, text, expected) => {
  expect(named(text)).toBe(expected);
});

test.each([
  ["another model inside", '{"inner":{"model":"m"},"model":"m"}', { inner: { model: "m" }, model: "public" }],
  ["no name", '{"a":1}', { a: 1, model: "public" }],
  ["a name that is no text", '{"model":null}', { model: "public" }],
  ["the word as a value", '{"kind":"model","model":"m"}', { kind: "model", model: "public" }],
])("what cannot be told from the text is written anew: %s", (_, text, expected) => {
  expect(JSON.parse(named(text))).toEqual(expected);
});
