import type { IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";
import type { AccountLedger, AccountRecord, KeyRecord } from "../ledger/account-ledger.ts";
import type { Authenticator, Caller } from "./authenticate.ts";

/** A key that is good now, and the account that it spends. */
export interface ActiveKey {
  readonly key: KeyRecord;
  readonly account: AccountRecord;
}

/** The key that a caller has shown, if it is good now; one that is not counts against the client's address. Rejects with LedgerFault. */
export async function activeKey(
  ledger: Pick<AccountLedger, "keyBySecret">,
  authenticator: Authenticator,
  caller: Caller,
  req: IncomingMessage,
): Promise<ActiveKey | GatewayError> {
  if (caller.payer?.kind !== "key") {
    return new GatewayError("invalid_api_key", { headers: { "WWW-Authenticate": "Bearer" } });
  }
  const refuse = (status: keyof typeof WHY): GatewayError => {
    authenticator.refused(req, caller);
    return unauthorized(caller, status);
  };
  const view = await ledger.keyBySecret(caller.payer.hash);
  if (view === "unknown") return refuse(view);
  const { status } = view.key;
  if (status !== "active") return refuse(status);
  authenticator.accepted(caller);
  return view;
}

const WHY = {
  unknown: undefined,
  revoked: "Invalid API key provided: it has been revoked.",
  expired: "Invalid API key provided: it has expired.",
} as const;

/** The 401 of a credential that the ledger does not take. */
export function unauthorized({ tier }: Pick<Caller, "tier">, status: keyof typeof WHY): GatewayError {
  const code = tier === "jwt" ? "invalid_token" : "invalid_api_key";
  const headers = { "WWW-Authenticate": 'Bearer error="invalid_token"' };
  const message = WHY[status];
  return new GatewayError(code, message === undefined ? { headers } : { message, headers });
}
