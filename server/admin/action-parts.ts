import { createHash } from "node:crypto";
import { GatewayError } from "../errors.ts";
import type { SealedProviderKey } from "../ledger/account-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ProviderKeyStatus } from "../provider-keys.ts";

/** What the operator's actions need; the command line and the admin API are two ways to the same. */
export interface ActionParts {
  readonly ledger: Ledger;
  /** New keys get the first one unless another is asked for. */
  readonly prefixes: readonly string[];
  readonly pepper: string | undefined;
  /** Undefined: there is no master key, so no provider key can be stored. */
  readonly seal: ((account: string, provider: string, secret: string) => SealedProviderKey) | undefined;
  readonly providerKeyStatus: (masterKeyId: string) => ProviderKeyStatus;
  /** Upstreams that take customers' own keys: one for another would never be used. */
  readonly providers: readonly string[];
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** A result as JSON; no secret but a key's, once, when it is made. */
export type Answer = Readonly<Record<string, unknown>>;

/** Throws `invalid_request` for an idempotency key that is none. */
export function checkRepeatKey(key: string | undefined): void {
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return;
  throw new GatewayError("invalid_request", {
    message: "the idempotency key needs 1 to 255 visible ASCII characters",
  });
}

/** Hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
