import type { PaymentRecord, PaymentState } from "./ledger.ts";

/** A payment as it is stored. int64 columns that hold money or heights are read as text, so that none is rounded. */
export interface StoredPayment {
  readonly id: string;
  readonly state: PaymentState;
  readonly fence: number;
  /** ms since 1970; null: nobody holds it. A lease in the past is dead, but its holder may still act on it. */
  readonly lease_until: number | null;
  readonly fingerprint: string;
  readonly payer: string;
  readonly beneficiary: string | null;
  readonly amount: string;
  readonly asset: string;
  /** Null: the same as `amount`. */
  readonly asset_amount: string | null;
  readonly pay_to: string;
  readonly network: string;
  readonly x402_version: 1 | 2;
  readonly route: string;
  readonly topup: 0 | 1;
  readonly memo: string;
  readonly fee_payer: string;
  readonly claim_height: string | null;
  readonly tx: string | null;
  readonly reason: string | null;
  readonly watched: 0 | 1;
  readonly orphaned: 0 | 1;
  readonly servings: number;
  readonly created_at: number;
  readonly updated_at: number;
}

export function isLeased(row: StoredPayment, now: number): boolean {
  return row.lease_until !== null && row.lease_until > now;
}

export function toRecord(row: StoredPayment, now: number): PaymentRecord {
  return {
    id: row.id,
    state: row.state,
    fence: row.fence,
    fingerprint: row.fingerprint,
    payer: row.payer,
    beneficiary: row.beneficiary ?? undefined,
    amount: BigInt(row.amount),
    asset: row.asset,
    assetAmount: BigInt(row.asset_amount ?? row.amount),
    payTo: row.pay_to,
    network: row.network,
    x402Version: row.x402_version,
    route: row.route,
    isTopUp: row.topup === 1,
    memo: row.memo,
    feePayer: row.fee_payer,
    claimHeight: row.claim_height === null ? undefined : BigInt(row.claim_height),
    transaction: row.tx ?? undefined,
    reason: row.reason ?? undefined,
    watched: row.watched === 1,
    leased: isLeased(row, now),
    orphaned: row.orphaned === 1,
    servings: row.servings,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** How {@link StoredPayment.asset_amount} is stored: only where it says more than the amount. */
export function storedAssetAmount({
  amount,
  assetAmount,
}: Pick<PaymentRecord, "amount" | "assetAmount">): string | null {
  return assetAmount === amount ? null : assetAmount.toString();
}
