import fc from "fast-check";
import { expect, test } from "vitest";
import * as client from "../../client/usd.ts";
import * as server from "../../server/money.ts";

const texts = fc.oneof(
  fc.string(),
  fc.stringMatching(/^\$?\d{0,13}(\.\d{0,7})?$/),
  fc.bigInt({ min: 0n, max: 10n ** 18n - 1n }).map(server.formatUsd),
);

test("the client reads amounts as the server does", () => {
  const same = (text: string) => client.parseUsd(text) === server.parseUsd(text);
  fc.assert(fc.property(texts, same));
  expect(client.parseUsd("$0.05")).toBe(50_000n);
});

test("the client writes amounts as the server does", () => {
  const same = (amount: bigint) => client.formatUsd(amount) === server.formatUsd(amount);
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n }), same));
  expect(client.formatUsd(20_000n)).toBe("0.02");
});
