import { expect, test, vi } from "vitest";
import { isSigned } from "../../server/payment/transaction.ts";

vi.mock("node:crypto", async (original) => ({
  ...(await original<typeof import("node:crypto")>()),
  verify: (...given: readonly unknown[]) => {
    const done = given.at(-1) as (error: Error, isValid: boolean) => void;
    setImmediate(done, new Error("out of memory"), false);
  },
}));

/** A payment that cannot be checked may have been settled before: its payer must not be told to sign another. */
test("a signature that could not be checked is no wrong signature", async () => {
  const payment = {
    payerBytes: Buffer.alloc(32, 1),
    message: Buffer.from("a message"),
    signature: Buffer.alloc(64, 2),
  } as unknown as Parameters<typeof isSigned>[0];
  await expect(isSigned(payment)).rejects.toThrow("out of memory");
});
