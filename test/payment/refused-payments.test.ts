import { expect, test } from "vitest";
import { createRefusedPayments } from "../../server/payment/refused-payments.ts";

const LIMIT = 3;
const WALLET = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
const REFUSED = { outcome: "refused", reason: "insufficient_funds" } as const;

test("an address is suspect after as many bogus payments as the limit says, and may still ask", async () => {
  const refusals = createRefusedPayments(LIMIT);
  for (let count = 0; count < LIMIT; count += 1) {
    expect(refusals.isSuspect("192.0.2.1")).toBe(false);
    refusals.bogus("192.0.2.1");
    await new Promise(setImmediate);
  }
  expect(refusals.isSuspect("192.0.2.1")).toBe(true);
  expect(refusals.isSuspect("192.0.2.2")).toBe(false);
  const source = { address: "192.0.2.1", payer: WALLET, isPayersDoing: true };
  expect(refusals.limit(source)).toBeUndefined();
});

test("an address is suspect when its payments were refused, by IPv6 with its whole /64", async () => {
  const refusals = createRefusedPayments(LIMIT);
  for (let count = 0; count < LIMIT; count += 1) {
    const source = { address: `2001:db8::${count}`, payer: `${count}`, isPayersDoing: true };
    expect(await refusals.verify(source, async () => REFUSED)).toBe(REFUSED);
  }
  expect(refusals.isSuspect("2001:db8::ffff")).toBe(true);
  expect(refusals.isSuspect("2001:db8:0:1::1")).toBe(false);
  const next = { address: "2001:db8::ffff", payer: WALLET, isPayersDoing: true };
  const asked = await refusals.verify(next, () => Promise.reject(new Error("asked")));
  expect(asked).toMatchObject({ code: "too_many_refused_payments" });
});

test("a question that throws gives its place back", async () => {
  const refusals = createRefusedPayments(1);
  const source = { address: "192.0.2.1", payer: WALLET, isPayersDoing: true };
  await expect(refusals.verify(source, () => Promise.reject(new Error("down")))).rejects.toThrow("down");
  const good = { outcome: "ok", payer: WALLET } as const;
  expect(await refusals.verify(source, async () => good)).toBe(good);
});
