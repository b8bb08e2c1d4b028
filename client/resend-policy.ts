const RETRY_CODES: ReadonlySet<string> = new Set(["payment_in_progress"]);
const MAX_ERROR_BYTES = 64 * 1024;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 10_000;

/**
 * Whether an answer to a paid call means "ask again with the same payment", and in which words; undefined = it is the answer.
 * 503: the outcome is not known yet, or the server could not look. 409 `payment_in_progress`: the payment is at work.
 * Every other 4xx and 5xx is final. A drained copy of the body is read at most; the response stays usable.
 */
export async function resendReason(response: Response): Promise<string | undefined> {
  if (response.status === 503) return "503";
  if (response.status !== 409) return undefined;
  const code = readErrorCode(await readStart(response.clone(), MAX_ERROR_BYTES));
  return code !== undefined && RETRY_CODES.has(code) ? `409 ${code}` : undefined;
}

/**
 * How long to wait before the given attempt (2 = the first resend), ms: what `Retry-After` says (seconds or a date),
 * else doubling from 1 s to 10 s.
 */
export function resendDelayMs(retryAfter: string | null, attempt: number, nowMs: number): number {
  const told = retryAfter === null ? undefined : readRetryAfter(retryAfter.trim(), nowMs);
  return told ?? Math.min(FIRST_DELAY_MS * 2 ** (attempt - 2), LONGEST_DELAY_MS);
}

function readRetryAfter(text: string, nowMs: number): number | undefined {
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** `error.code` in the openai dialect, `error.reason` in the numeric one. */
function readErrorCode(text: string): string | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== "object" || body === null || !("error" in body)) return undefined;
  const { error } = body;
  if (typeof error !== "object" || error === null) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  return "reason" in error && typeof error.reason === "string" ? error.reason : undefined;
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
