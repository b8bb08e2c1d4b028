import { z } from "zod";
import { ERRORS, type ErrorCode, GatewayError } from "../errors.ts";
import { redactText } from "../redact.ts";
import type { Dialect } from "../routes.ts";
import { writeJson } from "./answer.ts";
import type { ProxyCall } from "./proxy-call.ts";
import { parseJsonObject } from "./request-json.ts";
import type { ModelBackend } from "./upstream.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** Credentials, account and access are between the operator and the upstream. A 402 of theirs would even ask for a payment. */
const OPERATORS_FAULT: ReadonlySet<number> = new Set([401, 402, 403, 407]);
/** The same of a customer's own key: the customer must hear of it. */
const KEY_REFUSED: ReadonlySet<number> = new Set([401, 402, 403]);
const TOO_MANY = 429;
/** For a 429 that does not say when. */
const RETRY_AFTER_SECONDS = "5";
const MAX_BODY_BYTES = 65_536;
const MAX_MESSAGE = 1_000;
/** A shorter "key" is a placeholder, as local model servers like them, and could be any word. */
const MIN_SECRET = 8;

const word = z.string().regex(/^[\w.-]{1,64}$/);
const refusalSchema = z.object({
  error: z.object({
    message: z.string(),
    type: word.optional().catch(undefined),
    code: word.optional().catch(undefined),
    param: z
      .string()
      .regex(/^[\w.[\]-]{1,128}$/)
      .optional()
      .catch(undefined),
  }),
});

type Refusal = z.output<typeof refusalSchema>["error"];

/**
 * Answers a call that a model server did not serve. What the caller can mend (a 4xx about its request) is passed on, uncharged,
 * in the mount's dialect and without secrets; anything else throws `upstream_failed`, and `provider_key_unusable` where it was the
 * customer's own key that was refused.
 */
export async function answerRefusal(
  call: ProxyCall,
  answer: UpstreamAnswer,
  backend: ModelBackend,
): Promise<void> {
  const { status } = answer;
  const { upstreamKey } = call;
  if (upstreamKey !== undefined && KEY_REFUSED.has(status)) throw new GatewayError("provider_key_unusable");
  if (status < 400 || status >= 500 || OPERATORS_FAULT.has(status)) throw new GatewayError("upstream_failed");
  const refusal = await readRefusal(answer);
  const message = withoutSecrets(refusal?.message ?? ownMessage(status), [
    ...backend.secrets,
    ...(upstreamKey === undefined ? [] : [upstreamKey]),
  ]);
  const retryAfter = retryAfterOf(answer) ?? (status === TOO_MANY ? RETRY_AFTER_SECONDS : undefined);
  if (retryAfter !== undefined) call.res.setHeader("Retry-After", retryAfter);
  const body = refusalBody(status, { ...refusal, message }, call.route.dialect);
  await writeJson(call, status, JSON.stringify(body));
}

function ownMessage(status: number): string {
  return status === TOO_MANY ? ERRORS.upstream_rate_limited.message : "The model refused the request.";
}

/** Seconds or a date (RFC 9110 §10.2.3), written anew; undefined: none, or nonsense. */
function retryAfterOf({ headers }: UpstreamAnswer): string | undefined {
  const text = headers["retry-after"];
  if (text === undefined || /^\d{1,6}$/.test(text)) return text;
  const at = /^[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : new Date(at).toUTCString();
}

async function readRefusal(answer: UpstreamAnswer): Promise<Refusal | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  const parsed = refusalSchema.safeParse(parseJsonObject(Buffer.concat(chunks).toString()));
  return parsed.success ? parsed.data.error : undefined;
}

function refusalBody(status: number, refusal: Refusal, dialect: Dialect): Readonly<Record<string, unknown>> {
  const type = refusal.type ?? (status === TOO_MANY ? "rate_limit_error" : "invalid_request_error");
  const ownCode: ErrorCode = status === TOO_MANY ? "upstream_rate_limited" : "invalid_request";
  const { message, code = ownCode, param = null } = refusal;
  return dialect === "numeric"
    ? { error: { code: status, message, type, reason: code } }
    : { error: { message, type, code, param } };
}

function withoutSecrets(message: string, secrets: readonly string[]): string {
  const known = secrets
    .filter((secret) => secret.length >= MIN_SECRET)
    .reduce((text, secret) => text.replaceAll(secret, "[redacted]"), message);
  return redactText(known)
    .replace(/\b(?:sk|pk|rk|gsk|xai|key|org|proj)[-_][\w*-]{6,}/gi, "[redacted]")
    .replace(/\bhttps?:\/\/\S+/gi, "[redacted]")
    .slice(0, MAX_MESSAGE);
}
