import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { openResponse, sealResponse } from "../../server/payment/response-store.ts";

const [token, identifier, stranger] = [randomBytes(32), randomBytes(32), randomBytes(32)];
const response = {
  status: 200,
  headers: [["content-type", "text/plain"]] as const,
  body: Buffer.from("the answer"),
};
const { sealed } = sealResponse(response, [token, identifier]);

test.each([
  { name: "the token's key", keys: [token] },
  { name: "the identifier's key", keys: [identifier] },
  { name: "one of several", keys: [stranger, identifier] },
])("$name opens it", ({ keys }) => {
  expect(openResponse(sealed, keys)).toEqual(response);
});

test.each([
  { name: "no key", keys: [] },
  { name: "another key", keys: [stranger] },
])("$name does not", ({ keys }) => {
  expect(openResponse(sealed, keys)).toBeUndefined();
});

test("it reveals nothing of what it holds, nor twice the same", () => {
  expect(Buffer.from(sealed).includes("the answer")).toBe(false);
  expect(sealResponse(response, [token, identifier]).sealed).not.toEqual(sealed);
});

test("any damage is noticed: a flipped bit, a missing or an added byte", () => {
  const bytes = Buffer.from(sealed);
  for (let at = 0; at < bytes.length; at += 1) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at);
    const opened = openResponse(flipped, [token]);
    // The other key's copy of the content key plays no part in it.
    if (opened !== undefined) expect(opened).toEqual(response);
    expect(openResponse(bytes.subarray(0, at), [token])).toBeUndefined();
  }
  expect(openResponse(Buffer.concat([bytes, Buffer.of(0)]), [token])).toBeUndefined();
});

test("an empty body and many headers survive", () => {
  const many = Array.from({ length: 100 }, (_, index) => [`x-${index}`, "é".repeat(50)] as const);
  const empty = { status: 204, headers: many, body: Buffer.alloc(0) };
  expect(openResponse(sealResponse(empty, [token]).sealed, [token])).toEqual(empty);
});
