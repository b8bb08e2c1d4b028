import { z } from "zod";
import { duration, integer, refuse, text } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import { type KeySettings, LIMIT_RESETS, PERMISSIONS, UNRESTRICTED } from "../ledger/account-ledger.ts";
import { type MicroUsd, parseUsd } from "../money.ts";

/** How long a rotated secret stays valid beside the new one, and that in ms. */
export const GRACES = {
  now: 0,
  "1m": 60_000,
  "15m": 900_000,
  "1h": 3_600_000,
  "6h": 21_600_000,
  "24h": 86_400_000,
} as const;

/** A billion dollars: more is a slip of the finger, and far from what the store's 64 bits hold. */
const MOST: MicroUsd = 1_000_000_000_000_000n;
const MAX_PAGE = 1_000;

const line = (max: number) =>
  z
    .string()
    .min(1, { error: "must not be empty" })
    .max(max, { error: `must have at most ${max} characters` })
    // Marks that turn the writing direction could turn a whole line of a table around.
    .refine((value) => !/[\p{Cc}\p{Cs}\p{Bidi_Control}]/u.test(value), {
      error: "must be one line of whole characters, without control characters",
    });

const name = line(100);
const accountId = z.string().regex(/^[A-Za-z0-9][\w.-]{0,63}$/, {
  error: "an id has 1 to 64 letters, digits, -, _ and .",
});

function amount(least: MicroUsd) {
  return text('dollars as a string, such as "5.00"').transform((value, ctx): MicroUsd => {
    const parsed = parseUsd(value);
    if (parsed === undefined) return refuse(ctx, 'write dollars such as "5.00" (at most 6 decimals)');
    if (parsed < least) return refuse(ctx, "must be at least 0.000001");
    return parsed > MOST ? refuse(ctx, "must be at most 1000000000") : parsed;
  });
}

function listOf<Item extends z.ZodType>(item: Item) {
  return z
    .array(item)
    .min(1, { error: "must name at least one" })
    .max(100, { error: "must name at most 100" });
}

/** A moment as an ISO date or time, or as the time from now (`30d`); the other direction for the past. */
function moment(now: number, direction: 1 | -1) {
  const span = duration("1s", "3650d");
  const hint = 'write a date or time such as "2027-01-31T00:00:00Z", or a span such as "30d"';
  return text(direction === 1 ? "a date or a span" : "a date or a span ago").transform((value, ctx) => {
    const ms = span.safeParse(value);
    if (ms.success) return now + direction * ms.data;
    const isoText = z.iso.date().safeParse(value).success || isTime(value);
    return isoText ? Date.parse(value) : refuse(ctx, hint);
  });
}

function isTime(value: string): boolean {
  return z.iso.datetime({ offset: true }).safeParse(value).success;
}

/** A new account. Its id is made up where none is given. */
export const accountInput = z.strictObject({ name: name.optional(), id: accountId.optional() });

/** Money onto an account; the reference makes a repeat harmless. */
export const creditInput = z.strictObject({ amount: amount(1n), reference: line(200) });

/** The settings of a key; null takes a restriction away. */
function settingsShape(now: number) {
  return {
    label: name.optional(),
    permissions: listOf(z.enum(PERMISSIONS)).optional(),
    models: listOf(line(200)).nullable().optional(),
    providers: listOf(line(100)).nullable().optional(),
    limit: amount(0n).nullable().optional(),
    limit_reset: z.enum(LIMIT_RESETS).optional(),
    rpm: integer(1, 1_000_000).nullable().optional(),
    concurrency: integer(1, 1_000_000).nullable().optional(),
    expires_at: moment(now, 1)
      .refine((at) => at > now, { error: "is in the past" })
      .nullable()
      .optional(),
  };
}

const changeInput = (now: number) => z.strictObject(settingsShape(now));
const keyInput = (now: number) =>
  z.strictObject({
    account: z.string().min(1).max(100),
    prefix: z.string().optional(),
    ...settingsShape(now),
  });

/** Dollars to be paid in; the bounds they must be within are not an input's business. */
const paidIn = text('dollars as a string, such as "5.00"').transform(
  (value, ctx): MicroUsd =>
    parseUsd(value) ?? refuse(ctx, 'write dollars such as "5.00" (at most 6 decimals)'),
);
const topUpInput = z.strictObject({ amount: paidIn.optional() });
const keyPurchaseInput = (now: number) =>
  z.strictObject({ amount: paidIn.optional(), ...settingsShape(now) });

/** A new secret for a key. */
export const rotateInput = z.strictObject({
  grace: z
    .enum(["now", "1m", "15m", "1h", "6h", "24h"], { error: "write now, 1m, 15m, 1h, 6h or 24h" })
    .default("now"),
});

/** A customer's own key at a provider. Visible ASCII, since it becomes a header. */
export const providerKeyInput = z.strictObject({
  secret: z
    .string({ error: "is missing" })
    .regex(/^[\x21-\x7e]{8,1024}$/, { error: "needs 8 to 1024 visible ASCII characters" }),
});

/** What an account wants to be told. `webhookUrl` says which URLs may be told. */
export const alertSettingsInput = <Url extends z.ZodType<string>>(webhookUrl: Url) =>
  z.strictObject({
    low_balance: amount(1n).nullable(),
    key_limit_80: z.boolean(),
    key_limit_100: z.boolean(),
    webhook: z.strictObject({ url: webhookUrl }).nullable().optional(),
  });

const usageInput = (now: number) =>
  z.strictObject({
    account: z.string().min(1).max(100).optional(),
    key: z.string().min(1).max(100).optional(),
    model: z.string().min(1).max(200).optional(),
    since: moment(now, -1).optional(),
    before: integer(1, Number.MAX_SAFE_INTEGER).optional(),
    limit: integer(1, MAX_PAGE).optional(),
  });

/** Which usage to show. */
export type UsageQuery = z.output<ReturnType<typeof usageInput>>;

/** What a key is asked to be. */
export interface KeyOrder {
  readonly account: string;
  readonly prefix: string | undefined;
  readonly settings: KeySettings;
}

/** `invalid_request` that names each wrong field and repeats no value. */
export function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input ?? {}, { reportInput: true });
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) =>
    issue.code === "unrecognized_keys"
      ? `${issue.keys.map((key) => JSON.stringify(key)).join(", ")}: unknown field`
      : `${issue.path.join(".") || "body"}: ${issue.input === undefined ? "is missing" : issue.message}`,
  );
  throw new GatewayError("invalid_request", { message: lines.join("; ") });
}

/** A key to be made: what is not said is unrestricted, with every permission. */
export function parseKeyOrder(input: unknown, now: number): KeyOrder {
  const { account, prefix, ...given } = parse(keyInput(now), input);
  return { account, prefix, settings: settingsFrom(given) };
}

/** Money for an account; undefined: the usual amount. */
export function parseTopUp(input: unknown): { readonly amount: MicroUsd | undefined } {
  return { amount: parse(topUpInput, input).amount };
}

/** Money for an account, and what the key to it is asked to be. */
export function parseKeyPurchase(
  input: unknown,
  now: number,
): { readonly amount: MicroUsd | undefined; readonly settings: KeySettings } {
  const { amount, ...given } = parse(keyPurchaseInput(now), input);
  return { amount, settings: settingsFrom(given) };
}

/** The settings that are to change, at least one. */
export function parseKeyChange(input: unknown, now: number): Partial<KeySettings> {
  const change = settingsOf(parse(changeInput(now), input));
  if (Object.keys(change).length > 0) return change;
  throw new GatewayError("invalid_request", { message: "say at least one setting that is to change" });
}

/** Filters of usage. */
export function parseUsageQuery(input: unknown, now: number): UsageQuery {
  return parse(usageInput(now), input);
}

/** A moment in the past, ms since 1970: a date, a time or a span ago. */
export function parseSince(input: unknown, now: number): number | undefined {
  return parse(z.strictObject({ since: moment(now, -1).optional() }), { since: input }).since;
}

/** What is not said is unrestricted, with every permission. */
function settingsFrom(given: z.output<ReturnType<typeof changeInput>>): KeySettings {
  return { label: "unnamed", ...UNRESTRICTED, ...settingsOf(given) };
}

/** Only the settings that are given; null becomes undefined, which lifts the restriction. */
function settingsOf(given: z.output<ReturnType<typeof changeInput>>): Partial<KeySettings> {
  const { limit_reset: limitReset, label, permissions } = given;
  return {
    ...(label === undefined ? {} : { label }),
    ...(permissions === undefined ? {} : { permissions: [...new Set(permissions)] }),
    ...(limitReset === undefined ? {} : { limitReset }),
    ...(given.models === undefined ? {} : { models: given.models ?? undefined }),
    ...(given.providers === undefined ? {} : { providers: given.providers ?? undefined }),
    ...(given.limit === undefined ? {} : { limit: given.limit ?? undefined }),
    ...(given.rpm === undefined ? {} : { rpm: given.rpm ?? undefined }),
    ...(given.concurrency === undefined ? {} : { concurrency: given.concurrency ?? undefined }),
    ...(given.expires_at === undefined ? {} : { expiresAt: given.expires_at ?? undefined }),
  };
}
