import { FareboxError } from "./farebox-error.ts";

/** What an answer to a call that carries a payment means for that payment. */
export type Verdict =
  /** It bought the answer. */
  | { readonly kind: "served" }
  /** The server promises that no money moved and none will: this payment is of no more use. */
  | { readonly kind: "refused" }
  /** The money is accounted for otherwise: this payment buys nothing more. */
  | { readonly kind: "spent" }
  /** The call failed and the payment, as far as one can tell, still buys it. */
  | { readonly kind: "unspent" }
  /** The same payment must be sent again. */
  | { readonly kind: "undecided"; readonly reason: string; readonly outcome: Outcome };

/** `not_taken`: nobody has it. `taken`: the server has it, or may have. `unknown`: it was sent to be settled. */
export type Outcome = "not_taken" | "taken" | "unknown";

const BUSY_CODES: ReadonlySet<string> = new Set(["payment_in_progress", "request_in_progress"]);
const NOT_TAKEN_CODES: ReadonlySet<string> = new Set(["facilitator_unavailable", "terms_unavailable"]);
/** Farebox answers these before it broadcasts; another server's 402 may follow a transfer. */
const REFUSED_CODES: ReadonlySet<string> = new Set([
  "payment_mismatch",
  "payment_invalid",
  "payment_expired",
  "token_not_accepted",
  "payment_refused",
]);
const MAX_ERROR_BYTES = 64 * 1024;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 10_000;
/** A server that says 0 is not asked without a pause. */
const SHORTEST_DELAY_MS = 200;

/** Judges an answer. A copy of the body is read at most, up to 64 KiB; the response stays usable. */
export async function judge(response: Response): Promise<Verdict> {
  const { status } = response;
  if (status < 400) return { kind: "served" };
  if (status !== 402 && status !== 409 && status !== 503) return { kind: "unspent" };
  const code = readErrorCode(await readStart(response.clone(), MAX_ERROR_BYTES)) ?? "";
  if (status === 503) return { kind: "undecided", reason: "503", outcome: outcomeOf(code) };
  if (status === 402) return { kind: REFUSED_CODES.has(code) ? "refused" : "unspent" };
  return BUSY_CODES.has(code)
    ? { kind: "undecided", reason: `409 ${code}`, outcome: "taken" }
    : { kind: "spent" };
}

function outcomeOf(code: string): Outcome {
  if (code === "settlement_unknown") return "unknown";
  return NOT_TAKEN_CODES.has(code) ? "not_taken" : "taken";
}

/** What a failed answer becomes where the caller wants values; its body is read. */
export async function errorOf(
  response: Response,
  options: ConstructorParameters<typeof FareboxError>[2],
): Promise<FareboxError> {
  const text = await readStart(response, MAX_ERROR_BYTES).catch(() => "");
  const code = readErrorCode(text) ?? `http_${response.status}`;
  const message = readErrorMessage(text) ?? `The server answered ${response.status}.`;
  return new FareboxError(code, message, { ...options, status: response.status });
}

/**
 * How long to wait before the given attempt (2 = the first resend), ms: what `Retry-After` says (seconds or a date),
 * else doubling from 1 s to 10 s.
 */
export function resendDelayMs(retryAfter: string | null, attempt: number, nowMs: number): number {
  const told = retryAfter === null ? undefined : readRetryAfter(retryAfter.trim(), nowMs);
  if (told !== undefined) return Math.max(told, SHORTEST_DELAY_MS);
  return Math.min(FIRST_DELAY_MS * 2 ** (attempt - 2), LONGEST_DELAY_MS);
}

function readRetryAfter(text: string, nowMs: number): number | undefined {
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** `error.code` in the openai dialect, `error.reason` in the numeric one, `error` itself in a 402. */
function readErrorCode(text: string): string | undefined {
  const error = readError(text);
  if (typeof error === "string") return error;
  if (error === undefined) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return "reason" in error && typeof error.reason === "string" ? error.reason : undefined;
}

function readErrorMessage(text: string): string | undefined {
  const error = readError(text);
  if (error === undefined || typeof error === "string" || !("message" in error)) return undefined;
  return typeof error.message === "string" ? error.message : undefined;
}

function readError(text: string): string | object | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== "object" || body === null || !("error" in body)) return undefined;
  const { error } = body;
  return typeof error === "string" || (typeof error === "object" && error !== null) ? error : undefined;
}

async function readStart(response: Response, limit: number): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > limit) break;
  }
  return text;
}
