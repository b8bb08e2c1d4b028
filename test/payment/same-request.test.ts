import { expect, test } from "vitest";
import { fingerprint } from "../../server/payment/fingerprint.ts";

const CALL = { method: "POST", path: "/report", query: "?a=1", body: Buffer.from("x") };

test("what is the same in all of its parts is the same request", () => {
  expect(fingerprint({ ...CALL, body: Buffer.from("x") })).toBe(fingerprint(CALL));
});

test.each<[string, Partial<Parameters<typeof fingerprint>[0]>]>([
  ["method", { method: "PUT" }],
  ["path", { path: "/report/" }],
  ["query", { query: "?a=2" }],
  ["body", { body: Buffer.from("y") }],
  ["beneficiary", { beneficiary: "acme" }],
  ["range", { range: "bytes=0-1" }],
  ["path, with its end in the query", { path: "/repor", query: "t?a=1" }],
])("another %s is another request", (_part, other) => {
  expect(fingerprint({ ...CALL, ...other })).not.toBe(fingerprint(CALL));
});

test("a beneficiary is no range", () => {
  const text = "bytes=0-1";
  expect(fingerprint({ ...CALL, beneficiary: text })).not.toBe(fingerprint({ ...CALL, range: text }));
});
