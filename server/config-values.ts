import { isIPv4 } from "node:net";
import { z } from "zod";
import { type MicroUsd, parseUsd } from "./money.ts";

/**
 * The single values of the configuration: text as people write it -> what the program uses.
 * No message repeats the value it refuses: after `${ENV}` interpolation that may be a secret.
 */

const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_BYTES = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
} as const;
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const MIN_SECRET_CHARACTERS = 32;
const FACILITATOR_HINT = 'write "coinbase" or an http(s) URL';

/** A duration with its unit (`500ms`, `30s`, `5m`, `1h`), as milliseconds; both bounds are allowed values. */
export function duration(min: string, max: string) {
  const range = { min: measure(min, DURATION_MS) ?? 0, max: measure(max, DURATION_MS) ?? 0 };
  return text('a duration such as "30s" (ms, s, m, h, d)').transform((value, ctx) => {
    const ms = measure(value, DURATION_MS);
    if (ms === undefined)
      return refuse(ctx, 'write a duration with its unit, such as "30s" (ms, s, m, h, d)');
    if (ms < range.min || ms > range.max) return refuse(ctx, `must be from ${min} to ${max}`);
    return ms;
  });
}

/** A size with its unit (`64KiB`, `1MiB`), as bytes; both bounds are allowed values. */
export function size(min: string, max: string) {
  const range = { min: measure(min, SIZE_BYTES) ?? 0, max: measure(max, SIZE_BYTES) ?? 0 };
  return text('a size such as "64KiB" (B, KB, MB, KiB, MiB, GiB)').transform((value, ctx) => {
    const bytes = measure(value, SIZE_BYTES);
    if (bytes === undefined) return refuse(ctx, 'write a size with its unit, such as "64KiB"');
    if (bytes < range.min || bytes > range.max) return refuse(ctx, `must be from ${min} to ${max}`);
    return bytes;
  });
}

/** A price in dollars, as MicroUsd. A string, because a YAML number is a float. */
export function price() {
  return text('a price as a string, such as "$0.02"').transform((value, ctx): MicroUsd => {
    const amount = parseUsd(value);
    if (amount !== undefined) return amount;
    return refuse(ctx, 'write a price such as "$0.02" (at most 6 decimals)');
  });
}

/** A Solana address: base58 of exactly 32 bytes. */
export function address() {
  return text("a Solana address (base58)").refine((value) => isAddress(value), {
    error: "is not a Solana address (base58 of 32 bytes)",
  });
}

/** An http or https URL without credentials, query or fragment; its trailing slashes are cut. */
export function baseUrl() {
  return text("a URL").transform((value, ctx) => {
    const problem = urlProblem(value, false);
    return problem === undefined ? new URL(value).href.replace(/\/+$/, "") : refuse(ctx, problem);
  });
}

/** An http or https URL that may have a query: RPC providers put their keys there. */
export function urlWithQuery() {
  return text("a URL").transform((value, ctx) => {
    const problem = urlProblem(value, true);
    return problem === undefined ? new URL(value).href : refuse(ctx, problem);
  });
}

/** One or two RPC URLs: a list, or a text that separates them by a comma, because a variable is a text. */
export function rpcUrls() {
  const split = (value: unknown) => (typeof value === "string" ? value.split(/\s*,\s*(?=https?:)/) : value);
  const error = "write one RPC URL, or a list of two";
  const list = z.array(urlWithQuery(), { error }).min(1, { error }).max(2, { error });
  const distinct = (urls: readonly string[]) => new Set(urls).size === urls.length;
  return z.preprocess(split, list.refine(distinct, { error: "is twice the same URL" }));
}

const REDIS_HOST = /^[^\s,/?#]+$/;

/** `redis://`, `rediss://`, or `redis-cluster://` with several hosts; may hold a user and a password. */
export function ledgerUrl() {
  const hint = "write redis://host:6379, rediss://host:6379, or redis-cluster://a:6379,b:6379,c:6379";
  return text("a URL").refine(
    (value) => {
      const [, scheme = "", rest = ""] = /^(rediss?|redis-cluster):\/\/(.+)$/.exec(value) ?? [];
      const isHost = (host: string) => REDIS_HOST.test(host) && URL.canParse(`redis://${host}`);
      if (scheme === "redis-cluster") return rest.replace(/\/$/, "").split(",").every(isHost);
      return scheme !== "" && URL.canParse(value);
    },
    { error: hint },
  );
}

/** `coinbase`, or a facilitator's URL. */
export function facilitator() {
  return z.union([z.literal("coinbase"), baseUrl()], { error: FACILITATOR_HINT });
}

/** Several of them, in order of preference: each as {@link facilitator}, or with time limits of its own. */
export function facilitators() {
  const entry = z.strictObject({
    url: facilitator(),
    verify: duration("100ms", "50s").optional(),
    settle: duration("1s", "2m").optional(),
  });
  const named = (value: unknown, ctx: z.RefinementCtx) => {
    if (typeof value !== "string") return value;
    return facilitator().safeParse(value).success ? { url: value } : refuse(ctx, FACILITATOR_HINT);
  };
  return z
    .array(z.preprocess(named, entry))
    .min(1, { error: "names no facilitator" })
    .max(8, { error: "at most 8 facilitators" })
    .refine((list) => new Set(list.map(({ url }) => url)).size === list.length, {
      error: "names a facilitator twice",
    })
    .transform((list) =>
      list.map(({ url, verify, settle }) => ({ url, verifyTimeoutMs: verify, settleTimeoutMs: settle })),
    );
}

/** A whole number; digits in a string count, because interpolated values and variables are strings. */
export function integer(min: number, max: number) {
  const digits = (value: unknown) =>
    typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  const error = `write a whole number from ${min} to ${max}`;
  return z.preprocess(digits, z.int({ error }).min(min, { error }).max(max, { error }));
}

/** `true` or `false`; the words in a string count too. */
export function flag() {
  const word = (value: unknown) => (value === "true" ? true : value === "false" ? false : value);
  return z.preprocess(word, z.boolean({ error: "write true or false" }));
}

/** One secret, or two separated by a comma for rotation, newest first; each at least 32 characters. */
export function secrets() {
  return z.string().transform((value, ctx) => {
    const list = value.split(",").map((secret) => secret.trim());
    if (list.length > 2) return refuse(ctx, "at most two secrets: the first is used, both are accepted");
    const short = list.some((secret) => secret.length < MIN_SECRET_CHARACTERS);
    return short ? refuse(ctx, `each secret needs at least ${MIN_SECRET_CHARACTERS} characters`) : list;
  });
}

/** True for `localhost`, 127.0.0.0/8 and ::1, bare or in brackets; true of nothing that other machines can reach. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1" || host === "[::1]") return true;
  return isIPv4(host) && host.startsWith("127.");
}

/** A string; anything else is answered with what to write. */
export function text(what: string) {
  return z.string({ error: `write ${what}` });
}

/** Refuses a value from inside a transform. The message must not repeat the value. */
export function refuse(ctx: z.RefinementCtx, message: string): never {
  ctx.addIssue({ code: "custom", message });
  return z.NEVER;
}

function measure(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d{1,12})\s?([a-zA-Z]+)$/.exec(text);
  const unit = units[match?.[2] ?? ""];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

/** True of http to another machine. */
export function isPlainHttp(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && !isLoopback(hostname);
}

function urlProblem(text: string, query: boolean): string | undefined {
  if (!URL.canParse(text)) return "is not a URL";
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "must be an http or https URL";
  if (url.username !== "" || url.password !== "") return "must not contain a user name or password";
  if (url.hash !== "") return "must not have a fragment";
  return !query && url.search !== "" ? "must not have a query" : undefined;
}

function isAddress(text: string): boolean {
  if (!/^[1-9A-HJ-NP-Za-km-z]{32,44}$/.test(text)) return false;
  const zeros = /^1*/.exec(text)?.[0].length ?? 0;
  let value = 0n;
  for (const character of text) value = value * 58n + BigInt(BASE58.indexOf(character));
  const bytes = value === 0n ? 0 : Math.ceil(value.toString(16).length / 2);
  return zeros + bytes === 32;
}
