interface ErrorEntry {
  readonly status: number;
  readonly type: ErrorType;
  readonly message: string;
}

/** The `type` families of the four systems we match (docs/errors.md). */
export type ErrorType =
  | "authentication_error"
  | "insufficient_credits"
  | "permission_error"
  | "rate_limit_error"
  | "invalid_request_error"
  | "api_error";

/**
 * Every error a caller can meet: code -> status, type, message. The only place where a status is decided.
 * Messages say what to do next and never repeat a facilitator's or an upstream's text.
 */
export const ERRORS = {
  payment_required: entry(
    402,
    "insufficient_credits",
    "This call costs money. Pay as the accepts list says and ask again.",
  ),
  payment_malformed: entry(400, "invalid_request_error", "The payment header is not a valid x402 payload."),
  amount_not_accepted: entry(
    400,
    "invalid_request_error",
    "The amount is not within what can be paid in at once. Nothing was spent.",
  ),
  unsupported_version: entry(
    400,
    "invalid_request_error",
    "This x402 protocol version is not accepted here.",
  ),
  payment_identifier_required: entry(
    400,
    "invalid_request_error",
    "This route needs the payment-identifier extension with an id of 16 to 128 characters.",
  ),
  payment_identifier_conflict: entry(
    409,
    "invalid_request_error",
    "This payment identifier was used for another request.",
  ),
  payment_mismatch: entry(
    402,
    "insufficient_credits",
    "The payment does not match the terms of this call. Nothing was settled; sign a new one.",
  ),
  payment_invalid: entry(
    402,
    "insufficient_credits",
    "The payment is not valid. Nothing was settled; sign a new one.",
  ),
  token_not_accepted: entry(
    402,
    "insufficient_credits",
    "This token is not accepted now: its price is missing or too old. Nothing was settled; pay as the accepts list says.",
  ),
  payment_expired: entry(
    402,
    "insufficient_credits",
    "The terms of this payment have expired. Nothing was settled; sign a new one.",
  ),
  payment_refused: entry(
    402,
    "insufficient_credits",
    "The settlement was refused. No money moved; sign a new payment.",
  ),
  payment_in_progress: entry(
    409,
    "invalid_request_error",
    "This payment is being used by a call in progress. Ask again with the same payment.",
  ),
  payment_already_used: entry(
    409,
    "invalid_request_error",
    "This payment was already used for another request.",
  ),
  payment_credited: entry(
    409,
    "invalid_request_error",
    "This payment was settled but not served; it is credited to the payer's wallet account.",
  ),
  response_not_stored: entry(
    409,
    "invalid_request_error",
    "This payment was delivered and its response is no longer stored.",
  ),
  settlement_unknown: entry(
    503,
    "api_error",
    "Whether the payment settled is not known yet. Ask again with the same payment; do not sign a new one.",
  ),
  facilitator_unavailable: entry(
    503,
    "api_error",
    "The payment could not be checked now. Nothing was spent; ask again with the same payment.",
  ),
  terms_unavailable: entry(
    503,
    "api_error",
    "The payment terms are not known yet. Nothing was spent; ask again.",
  ),
  ledger_unavailable: entry(
    503,
    "api_error",
    "The ledger cannot answer now. Nothing was served; ask again, with the same payment if there was one.",
  ),
  shutting_down: entry(503, "api_error", "The server is restarting. Ask again with the same payment."),
  too_many_payments: entry(
    429,
    "rate_limit_error",
    "Too many unsettled calls of this wallet are in progress.",
  ),
  too_many_refused_payments: entry(
    429,
    "rate_limit_error",
    "Too many payments from this address or wallet were refused. Nothing was spent; wait, then send the same payment again.",
  ),
  invalid_api_key: entry(401, "authentication_error", "Invalid API key provided"),
  invalid_token: entry(401, "authentication_error", "Invalid token provided"),
  insufficient_permissions: entry(
    403,
    "permission_error",
    "API key doesn't have permission for this endpoint",
  ),
  model_not_allowed: entry(403, "permission_error", "API key doesn't have permission for this model"),
  provider_not_allowed: entry(403, "permission_error", "API key doesn't have permission for this provider"),
  insufficient_credits: entry(
    402,
    "insufficient_credits",
    "The account's balance does not cover this call. Top it up, or ask for less.",
  ),
  key_limit_reached: entry(
    402,
    "insufficient_credits",
    "The key's spend limit does not cover this call. Raise the limit, or ask for less.",
  ),
  rate_limit_exceeded: entry(429, "rate_limit_error", "Too many requests; back off and retry."),
  concurrency_limit_exceeded: entry(429, "rate_limit_error", "Too many calls of this key are in progress."),
  too_many_failed_logins: entry(
    429,
    "rate_limit_error",
    "Too many requests with invalid credentials came from this address.",
  ),
  request_in_progress: entry(
    409,
    "invalid_request_error",
    "A call with this Idempotency-Key is in progress. Ask again with the same key.",
  ),
  idempotency_key_reused: entry(
    409,
    "invalid_request_error",
    "This Idempotency-Key was used for another request.",
  ),
  idempotent_answer_not_stored: entry(
    409,
    "invalid_request_error",
    "The call with this Idempotency-Key was charged once and its answer is no longer stored.",
  ),
  jwks_unavailable: entry(
    503,
    "api_error",
    "The token cannot be checked now. Nothing was charged; ask again.",
  ),
  provider_key_unusable: entry(
    503,
    "api_error",
    "The account's own provider key cannot be used now. Nothing was charged.",
  ),
  account_not_found: entry(404, "invalid_request_error", "There is no such account."),
  key_not_found: entry(404, "invalid_request_error", "There is no such key."),
  key_not_active: entry(409, "invalid_request_error", "The key is revoked or expired."),
  key_pepper_differs: entry(
    409,
    "invalid_request_error",
    "The gateways run with another FAREBOX_KEY_PEPPER than the one set here, and would refuse this key. None was made.",
  ),
  account_exists: entry(409, "invalid_request_error", "There is an account of this id already."),
  credit_conflict: entry(
    409,
    "invalid_request_error",
    "Another amount was credited under this reference already.",
  ),
  too_many_keys: entry(409, "invalid_request_error", "The account has as many keys as an account may have."),
  sign_in_required: entry(
    401,
    "authentication_error",
    "This needs a signed-in wallet: a session, or a SIGN-IN-WITH-X header.",
  ),
  sign_in_refused: entry(
    401,
    "authentication_error",
    "The sign-in is not valid. Ask for a new challenge and sign it as it is.",
  ),
  session_ended: entry(401, "authentication_error", "The session is over. Sign in again."),
  session_just_refreshed: entry(
    409,
    "invalid_request_error",
    "The session was refreshed by another request a moment ago. Go on with the cookies that it set.",
  ),
  csrf_refused: entry(
    403,
    "permission_error",
    "A change by session cookie needs this site's Origin and the session's X-CSRF-Token.",
  ),
  admin_token_required: entry(401, "authentication_error", "This needs the operator's token."),
  tier_not_accepted: entry(
    401,
    "authentication_error",
    "This route does not accept this kind of credential.",
  ),
  not_found: entry(404, "invalid_request_error", "There is nothing at this path."),
  model_not_found: entry(404, "invalid_request_error", "The model does not exist or is not offered here."),
  method_not_allowed: entry(405, "invalid_request_error", "This method is not allowed here."),
  invalid_request: entry(400, "invalid_request_error", "The request is not valid."),
  invalid_json: entry(400, "invalid_request_error", "The request body is not valid JSON."),
  body_too_large: entry(413, "invalid_request_error", "The request body is larger than this server accepts."),
  headers_too_large: entry(
    431,
    "invalid_request_error",
    "The request headers are larger than this server accepts.",
  ),
  request_timeout: entry(
    408,
    "invalid_request_error",
    "The request did not arrive in time. Nothing was charged; send it again.",
  ),
  body_incomplete: entry(400, "invalid_request_error", "The request body ended early."),
  upstream_unreachable: entry(
    502,
    "api_error",
    "The upstream did not answer. This call costs nothing: nothing was charged, or it is credited.",
  ),
  upstream_timeout: entry(
    504,
    "api_error",
    "The upstream took too long. This call costs nothing: nothing was charged, or it is credited.",
  ),
  upstream_failed: entry(
    502,
    "api_error",
    "The upstream failed. This call costs nothing: nothing was charged, or it is credited.",
  ),
  upstream_rate_limited: entry(
    429,
    "rate_limit_error",
    "The upstream has too many requests now. Nothing was charged; ask again after Retry-After seconds.",
  ),
  internal_error: entry(500, "api_error", "Something failed on our side."),
} satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

function entry(status: number, type: ErrorType, message: string): ErrorEntry {
  return { status, type, message };
}
