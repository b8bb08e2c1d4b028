import type { RequestHandler } from "express";
import { type ActiveKey, activeKey } from "./auth/active-key.ts";
import type { Authenticator } from "./auth/authenticate.ts";
import { GatewayError } from "./errors.ts";
import type { AccountLedger, Permission } from "./ledger/account-ledger.ts";
import { formatUsd, type MicroUsd } from "./money.ts";

export interface KeyStatusParts {
  readonly authenticator: Authenticator;
  readonly ledger: Pick<AccountLedger, "keyBySecret">;
}

/** `GET …/key`: what a key may know of itself, from the state that the holds are checked against. */
export function createKeyStatus({ authenticator, ledger }: KeyStatusParts): RequestHandler {
  return async (req, res) => {
    const caller = await authenticator.authenticate(req);
    const view =
      caller instanceof GatewayError ? caller : await activeKey(ledger, authenticator, caller, req);
    if (view instanceof GatewayError) throw view;
    res.set("Cache-Control", "private, no-store").json(statusOf(view));
  };
}

/** Lets a request without credentials pass, and one whose key has this permission. */
export function createPermissionCheck(
  { authenticator, ledger }: KeyStatusParts,
  permission: Permission,
): RequestHandler {
  return async (req, _res, next) => {
    if (!authenticator.isShown(req.headers.authorization)) return next();
    const caller = await authenticator.authenticate(req);
    if (caller instanceof GatewayError) throw caller;
    if (caller.tier === "jwt") return next();
    const view = await activeKey(ledger, authenticator, caller, req);
    if (view instanceof GatewayError) throw view;
    if (!view.key.permissions.includes(permission)) throw new GatewayError("insufficient_permissions");
    next();
  };
}

function statusOf({ key, account }: ActiveKey) {
  return {
    label: key.label,
    usage: dollars(key.usage),
    limit: optional(key.limit, dollars),
    limit_remaining: optional(key.limitRemaining, dollars),
    usage_micro_usd: key.usage.toString(),
    limit_micro_usd: optional(key.limit, String),
    limit_remaining_micro_usd: optional(key.limitRemaining, String),
    limit_reset: key.limitReset,
    limit_resets_at: optional(key.limitResetsAt, iso),
    balance: dollars(account.balance - account.held),
    balance_micro_usd: (account.balance - account.held).toString(),
    permissions: key.permissions,
    models: key.models ?? null,
    providers: key.providers ?? null,
    rate_limit: key.rpm === undefined ? null : { requests: key.rpm, interval: "1m" },
    concurrency_limit: key.concurrency ?? null,
    expires_at: optional(key.expiresAt, iso),
  };
}

/** For people and charts; the exact amount stands beside it as a string. */
function dollars(amount: MicroUsd): number {
  return Number(formatUsd(amount));
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function optional<From, To>(value: From | undefined, to: (value: From) => To): To | null {
  return value === undefined ? null : to(value);
}
