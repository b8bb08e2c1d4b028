import { z } from "zod";
import type { Exchange } from "./http-exchange.ts";
import { settleReasonMeaning } from "./reasons.ts";
import type { SettleResult, SupportedKind, SupportedResult, VerifyResult } from "./types.ts";

const BASE58_SIGNATURE = /^[1-9A-HJ-NP-Za-km-z]{64,88}$/;
const BASE58_ADDRESS = /^[1-9A-HJ-NP-Za-km-z]{32,44}$/;

/** x402 v2 §7.1; v1 answers the same. */
const verifyReply = z.object({
  isValid: z.boolean(),
  invalidReason: z.string().nullish(),
  payer: z.string().nullish(),
});

/** x402 v2 §7.2; v1 answers the same. */
const settleReply = z.object({
  success: z.boolean(),
  errorReason: z.string().nullish(),
  payer: z.string().nullish(),
  transaction: z.string().nullish(),
  network: z.string().nullish(),
});

/** x402 v2 §7.3. Kinds are read one by one, so that a scheme we have never heard of cannot hide those we know. */
const supportedReply = z.object({
  kinds: z.array(z.unknown()),
  signers: z.record(z.string(), z.array(z.unknown())).catch({}),
});

const supportedKind = z.object({
  x402Version: z.number(),
  scheme: z.string(),
  network: z.string(),
  extra: z.object({ feePayer: z.unknown() }).partial().nullish(),
});

/**
 * Reads the answer to `/verify`. A "no" is a refusal with any status below 500; a "yes" counts with 2xx only.
 * Without a well-formed answer 401 and 403 are `not_sent` (see {@link readSettle}), the rest is `unknown`.
 */
export function readVerify(result: Exchange): VerifyResult {
  if (result.kind === "failed") {
    return { outcome: result.sent ? "unknown" : "not_sent", reason: result.reason };
  }
  const reply = verifyReply.safeParse(parseJson(result.body));
  if (reply.success && result.status < 500) {
    const { isValid, invalidReason, payer } = reply.data;
    if (!isValid) return { outcome: "refused", reason: printable(invalidReason) };
    if (isSuccess(result.status)) return { outcome: "ok", payer: payer || undefined };
  }
  return withoutReply(result.status);
}

/**
 * Reads the answer to `/settle`. A well-formed `success: false` below 500 is judged by its reason, whatever the status.
 *
 * Without one, only 401 and 403 prove that nothing was broadcast: credentials are checked before the body is handled, and
 * they can change between verify and settle (an expired token, a revoked key). 400, 404, 405 or 413 would have been
 * verify's answer to the same body a moment ago, so at settle they are anomalies and may follow handling; 408, 429, 3xx
 * and 5xx can come from a proxy that gave up on a request it had passed on. All those are `unknown`.
 */
export function readSettle(result: Exchange): SettleResult {
  if (result.kind === "failed") {
    return result.sent
      ? { outcome: "unknown", reason: result.reason, transaction: undefined }
      : { outcome: "not_sent", reason: result.reason };
  }
  const reply = settleReply.safeParse(parseJson(result.body));
  if (!reply.success) {
    const { outcome, reason } = withoutReply(result.status);
    return outcome === "not_sent" ? { outcome, reason } : { outcome, reason, transaction: undefined };
  }
  const { success, errorReason, payer, network } = reply.data;
  const transaction = BASE58_SIGNATURE.test(reply.data.transaction ?? "")
    ? (reply.data.transaction ?? undefined)
    : undefined;
  if (success) {
    if (!isSuccess(result.status)) {
      return { outcome: "unknown", reason: `http_${result.status}`, transaction };
    }
    return transaction === undefined || !network
      ? { outcome: "unknown", reason: "malformed_reply", transaction }
      : { outcome: "ok", transaction, payer: payer || undefined, network };
  }
  const reason = printable(errorReason);
  if (result.status >= 500) return { outcome: "unknown", reason, transaction };
  return settleReasonMeaning(errorReason ?? "") === "refused"
    ? { outcome: "refused", reason }
    : { outcome: "unknown", reason, transaction, replied: true };
}

/** Reads the answer to `/supported`. Malformed kinds are left out; a `feePayer` or signer that is no address counts as none. */
export function readSupported(result: Exchange): SupportedResult {
  if (result.kind === "failed") return { outcome: "failed", reason: result.reason };
  if (!isSuccess(result.status)) return { outcome: "failed", reason: `http_${result.status}` };
  const reply = supportedReply.safeParse(parseJson(result.body));
  if (!reply.success) return { outcome: "failed", reason: "malformed_reply" };
  const kinds: SupportedKind[] = [];
  for (const item of reply.data.kinds) {
    const kind = supportedKind.safeParse(item);
    if (!kind.success) continue;
    const { x402Version, scheme, network, extra } = kind.data;
    const feePayer = isAddress(extra?.feePayer) ? extra.feePayer : undefined;
    kinds.push({ x402Version, scheme, network, feePayer, signers: signersOn(network, reply.data.signers) });
  }
  return { outcome: "ok", kinds };
}

/** Signers are listed by network, or by family of networks (`solana:*`). */
function signersOn(
  network: string,
  signers: Readonly<Record<string, readonly unknown[]>>,
): readonly string[] {
  const [family = ""] = network.split(":", 1);
  return [network, `${family}:*`].flatMap((name) => signers[name] ?? []).filter(isAddress);
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && BASE58_ADDRESS.test(value);
}

function withoutReply(status: number): { outcome: "not_sent" | "unknown"; reason: string } {
  if (isSuccess(status)) return { outcome: "unknown", reason: "malformed_reply" };
  return { outcome: status === 401 || status === 403 ? "not_sent" : "unknown", reason: `http_${status}` };
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** A reason fit for one log line: printable ASCII, at most 200 characters. */
function printable(reason: string | null | undefined): string {
  if (!reason) return "no_reason";
  return reason.slice(0, 200).replace(/[^\x20-\x7e]/g, "?");
}
