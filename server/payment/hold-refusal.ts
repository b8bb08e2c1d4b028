import { unauthorized } from "../auth/active-key.ts";
import type { Caller } from "../auth/authenticate.ts";
import { GatewayError } from "../errors.ts";
import type { HoldOutcome } from "../ledger/call-ledger.ts";
import { formatUsd, type MicroUsd } from "../money.ts";
import { rateHeaders, wholeSeconds } from "./rate-headers.ts";

type Refusal = Exclude<HoldOutcome, { readonly outcome: "held" | "replay" }>;

/** The error for each outcome of a hold that admits nothing. 402s say which purse is short, and what it could bear. */
export function refuseHold(refusal: Refusal, caller: Caller): GatewayError {
  switch (refusal.outcome) {
    case "unknown":
    case "revoked":
    case "expired":
      return unauthorized(caller, refusal.outcome);
    case "not_permitted":
      return new GatewayError("insufficient_permissions");
    case "model_not_allowed":
    case "provider_not_allowed":
      return new GatewayError(refusal.outcome);
    case "in_progress":
      return new GatewayError("request_in_progress", { retryAfterSeconds: 1 });
    case "idempotency_conflict":
      return new GatewayError("idempotency_key_reused");
    case "rate_limited":
      return new GatewayError("rate_limit_exceeded", {
        headers: Object.fromEntries(rateHeaders(refusal.rate)),
        retryAfterSeconds: wholeSeconds(refusal.rate.resetsInMs),
      });
    case "too_many_concurrent":
      return new GatewayError("concurrency_limit_exceeded", {
        details: { limit: refusal.limit },
        retryAfterSeconds: 1,
      });
    case "key_limit_reached":
      return new GatewayError("key_limit_reached", {
        message: `The key's spend limit of $${formatUsd(refusal.limit)} does not cover this call: ${shortOf(refusal)}. Raise the limit, or ask for less.`,
        details: {
          ...amounts(refusal),
          limit: formatUsd(refusal.limit),
          resets_at: refusal.resetsAt === undefined ? null : new Date(refusal.resetsAt).toISOString(),
        },
      });
    case "insufficient_credits":
      return new GatewayError("insufficient_credits", {
        message: `The account's balance does not cover this call: ${shortOf(refusal)}. Top it up, or ask for less.`,
        details: amounts(refusal),
      });
  }
}

interface Shortage {
  readonly needed: MicroUsd;
  readonly affordable: MicroUsd;
}

/** Many clients show the message and nothing else. */
function shortOf({ needed, affordable }: Shortage): string {
  return `it needs $${formatUsd(needed)}, and $${formatUsd(affordable)} is affordable`;
}

function amounts({ needed, affordable }: Shortage): Readonly<Record<string, string>> {
  return { currency: "USD", needed: formatUsd(needed), affordable: formatUsd(affordable) };
}
