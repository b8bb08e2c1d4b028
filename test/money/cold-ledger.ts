import type { HoldRequest } from "../../server/ledger/call-ledger.ts";

/** What several processes open and spend at once. */
export const COLD_ACCOUNT = "acct_cold";
export const COLD_CALL = 10_000n;
export const COLD_BUDGET = 10n * COLD_CALL;

/** A call of a first-party product on that account. */
export function holdFor(id: string, price: bigint): HoldRequest {
  return {
    id,
    payer: { kind: "account", account: COLD_ACCOUNT },
    permission: "agent:run",
    model: undefined,
    provider: undefined,
    range: { most: price, least: price },
    ownKeyRange: undefined,
    leaseMs: 600_000,
    idempotency: undefined,
  };
}
