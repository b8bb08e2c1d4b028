import { z } from "zod";

/** What the server answers, as far as the console reads it (docs/accounts.md). Amounts are exact strings. */

const usd = z.string();
const micro = z.string().regex(/^-?\d+$/);
const time = z.string();

export const configSchema = z.object({
  name: z.string(),
  network: z.string(),
  local: z.boolean(),
  public_url: z.string(),
  topup: z.object({ least_usd: usd, most_usd: usd, usual_usd: usd }).nullable(),
  asset: z.string(),
  tokens: z.array(
    z.object({
      symbol: z.string(),
      mint: z.string(),
      decimals: z.number(),
      usd_price: usd.nullable(),
      haircut_percent: z.string(),
      priced_at: time.nullable(),
      offered: z.boolean(),
      reason: z.string().nullable(),
    }),
  ),
  models: z.array(
    z.object({
      id: z.string(),
      provider: z.string().nullable().default(null),
      input_usd_per_million: usd.nullable().default(null),
      output_usd_per_million: usd.nullable().default(null),
      price_usd: usd.nullable().default(null),
    }),
  ),
  providers: z.array(z.string()),
  key_prefixes: z.array(z.string()),
  permissions: z.array(z.string()),
  provider_keys: z.boolean(),
  explorer: z.string().nullable(),
});

export const sessionSchema = z.object({ wallet: z.string(), csrf_token: z.string(), expires_at: time });

export const challengeSchema = z.object({ info: z.record(z.string(), z.string()), message: z.string() });

export const accountSchema = z.object({
  id: z.string(),
  wallet: z.string(),
  network: z.string(),
  balance_micro_usd: micro,
  held_micro_usd: micro,
  available_micro_usd: micro,
});

export const keySchema = z.object({
  id: z.string(),
  label: z.string(),
  prefix: z.string(),
  last4: z.string(),
  status: z.enum(["active", "revoked", "expired"]),
  permissions: z.array(z.string()),
  models: z.array(z.string()).nullable(),
  providers: z.array(z.string()).nullable(),
  limit_micro_usd: micro.nullable(),
  limit_reset: z.string(),
  limit_resets_at: time.nullable(),
  spent_micro_usd: micro,
  usage_micro_usd: micro,
  rpm: z.number().nullable(),
  concurrency: z.number().nullable(),
  expires_at: time.nullable(),
  created_at: time,
  last_used_at: time.nullable(),
});

export const keysSchema = z.object({ keys: z.array(keySchema) });
export const newKeySchema = keySchema.extend({ key: z.string().nullable() });

export const usageSchema = z.object({
  usage: z.array(
    z.object({
      id: z.union([z.number(), z.string()]),
      at: time,
      tier: z.string(),
      key_id: z.string().nullable(),
      key_label: z.string().nullable(),
      route: z.string(),
      model: z.string().nullable(),
      prompt_tokens: z.number().nullable(),
      completion_tokens: z.number().nullable(),
      estimated: z.boolean(),
      held_micro_usd: micro.nullable(),
      charged_micro_usd: micro,
      status: z.number().nullable(),
      transaction: z.string().nullable(),
      not_charged: z.string().nullable(),
    }),
  ),
  next_before: z.number().nullable(),
});

const spent = { charged_micro_usd: micro, paid_micro_usd: micro.default("0"), calls: z.number() };
export const spendSchema = z.object({
  today: z.object(spent),
  days: z.array(z.object({ date: z.string(), ...spent })),
  models: z.array(z.object({ model: z.string().nullable(), ...spent })),
  keys: z.array(z.object({ key_id: z.string().nullable(), key_label: z.string().nullable(), ...spent })),
  complete: z.boolean(),
});

export const topUpsSchema = z.object({
  topups: z.array(
    z.object({
      payment: z.string(),
      at: time,
      kind: z.string(),
      amount_micro_usd: micro,
      transaction: z.string().nullable(),
      receipt: z.string().nullable(),
    }),
  ),
  next_before: z.string().nullable(),
});

/** Of `POST /topup`. */
export const creditSchema = z.object({ amount: usd, balance: usd, transaction: z.string().nullable() });

export const providerKeySchema = z.object({ provider: z.string(), last4: z.string(), created_at: time });
export const providerKeysSchema = z.object({ provider_keys: z.array(providerKeySchema) });

export const alertsSchema = z.object({
  low_balance_micro_usd: micro.nullable(),
  key_limit_80: z.boolean(),
  key_limit_100: z.boolean(),
  webhook: z
    .object({
      url: z.string(),
      status: z.enum(["active", "suspended", "unusable"]),
      created_at: time,
      /** In the answer that made it, and never again. */
      secret: z.string().optional(),
    })
    .nullable(),
});
export const alertTestSchema = z.object({ delivered: z.boolean(), result: z.string() });
export const recentAlertsSchema = z.object({
  alerts: z.array(
    z.object({
      id: z.union([z.number(), z.string()]),
      kind: z.string(),
      key: z.object({ id: z.string(), label: z.string() }).nullable(),
      amount_micro_usd: micro,
      threshold_micro_usd: micro,
      at: time,
      delivery: z.string(),
    }),
  ),
});

export const errorSchema = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
  }),
});

export type ConsoleConfig = z.infer<typeof configSchema>;
export type Token = ConsoleConfig["tokens"][number];
export type Session = z.infer<typeof sessionSchema>;
export type Account = z.infer<typeof accountSchema>;
export type Key = z.infer<typeof keySchema>;
export type NewKey = z.infer<typeof newKeySchema>;
export type Usage = z.infer<typeof usageSchema>;
export type UsageRecord = Usage["usage"][number];
export type Spend = z.infer<typeof spendSchema>;
export type ProviderKey = z.infer<typeof providerKeySchema>;
export type Alerts = z.infer<typeof alertsSchema>;

/** What a person calls a key: its label or, where that shows nothing, what is known of its secret. No label turns the text around it. */
export function nameOf({ label, prefix, last4 }: Key): string {
  return asTyped(label) === "" ? `${prefix}…${last4}` : label.replace(/\p{Bidi_Control}/gu, "").trim();
}

/** What can be seen of a text, and typed: labels may hold characters that show nothing, and pages show several blanks as one. */
export function asTyped(text: string): string {
  const seen = text.normalize("NFKC").replace(/\p{Default_Ignorable_Code_Point}/gu, "");
  return seen.replace(/\s+/g, " ").trim();
}
