import { z } from "zod";
import { type AccountRecord, type KeyRecord, LIMIT_RESETS } from "./account-ledger.ts";
import type { PaymentRecord } from "./ledger.ts";
import { toKeyRecord } from "./stored-key.ts";
import { toRecord } from "./stored-payment.ts";

/** Redis hashes come as a flat list of names and values; "" stands for null. */
export const fields = z.array(z.string()).transform((flat) => {
  const row: Record<string, string> = {};
  for (let index = 0; index + 1 < flat.length; index += 2) row[flat[index] ?? ""] = flat[index + 1] ?? "";
  return row;
});

const optionalText = z.string().transform((text) => (text === "" ? null : text));
const whole = z.string().regex(/^-?\d+$/);
const number = whole.transform(Number);
const optionalNumber = z.string().transform((text) => (text === "" ? null : Number(text)));
const optionalWhole = z.union([whole, z.literal("").transform(() => null)]);
const flag = z.enum(["0", "1"]).transform((text): 0 | 1 => (text === "1" ? 1 : 0));

/** Records of earlier releases lack what came later. */
const paymentFields = fields.transform((row) => ({ beneficiary: "", asset_amount: "", topup: "0", ...row }));

const payment = paymentFields.pipe(
  z.object({
    id: z.string(),
    state: z.enum(["open", "settling", "unknown", "settled", "delivered", "credited", "released"]),
    fence: number,
    lease_until: optionalNumber,
    fingerprint: z.string(),
    payer: z.string(),
    beneficiary: optionalText,
    amount: whole,
    asset: z.string(),
    asset_amount: optionalWhole,
    pay_to: z.string(),
    network: z.string(),
    x402_version: z.enum(["1", "2"]).transform((text): 1 | 2 => (text === "1" ? 1 : 2)),
    route: z.string(),
    topup: flag,
    memo: z.string(),
    fee_payer: z.string(),
    claim_height: optionalWhole,
    tx: optionalText,
    reason: optionalText,
    watched: flag,
    orphaned: flag,
    servings: number,
    created_at: number,
    updated_at: number,
  }),
);

const key = fields.pipe(
  z.object({
    id: z.string(),
    account: z.string(),
    label: z.string(),
    prefix: z.string(),
    last4: z.string(),
    permissions: z.string(),
    models: optionalText,
    providers: optionalText,
    spend_limit: optionalWhole,
    limit_reset: z.enum(LIMIT_RESETS),
    rpm: optionalNumber,
    concurrency: optionalNumber,
    expires_at: optionalNumber,
    revoked_at: optionalNumber,
    created_at: number,
    last_used_at: optionalNumber,
    usage: whole,
    period: number,
    spent: whole,
    held: whole,
    running: number,
    window_start: number,
    window_count: number,
  }),
);

const account = fields.pipe(
  z.object({ id: z.string(), name: z.string(), balance: whole, held: whole, created_at: number }),
);

/** A payment's record, of its hash and the store's time. Throws ZodError. */
export function readPayment(flat: unknown, now: number): PaymentRecord {
  return toRecord(payment.parse(flat), now);
}

/** A key's record, of its hash and the store's time. Throws ZodError. */
export function readKey(flat: unknown, now: number): KeyRecord {
  return toKeyRecord(key.parse(flat), now);
}

/** Throws ZodError. */
export function readAccount(flat: unknown): AccountRecord {
  const { id, name, balance, held, created_at } = account.parse(flat);
  return { id, name, balance: BigInt(balance), held: BigInt(held), createdAt: created_at };
}

/** A record and the store's time, as many scripts answer; undefined: there is none. */
export const rowAndTime = z.union([
  z.tuple([z.array(z.string()), z.number()]),
  z.null().transform(() => undefined),
]);
export const rowsAndTime = z.tuple([z.array(z.array(z.string())), z.number()]);
