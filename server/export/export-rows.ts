import { csvCell } from "../admin/usage-csv.ts";
import { iso, money, usageView } from "../admin/views.ts";
import { type ExportKind, type ExportRecord, paymentVersion } from "../ledger/export-ledger.ts";

export const EXPORT_FORMATS = ["jsonl", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];
type Row = Readonly<Record<string, unknown>>;

/** The columns of a CSV; JSON lines have the same fields. */
const COLUMNS: Readonly<Record<ExportKind, readonly string[]>> = {
  journal: [
    ...["export_id", "at", "account", "reference", "kind", "key_id"],
    ...["amount_usd", "amount_micro_usd", "balance_usd", "balance_micro_usd"],
  ],
  payments: [
    ...["export_id", "id", "state", "created_at", "updated_at", "payer", "amount_usd", "amount_micro_usd"],
    ...[
      "asset",
      "pay_to",
      "network",
      "x402_version",
      "route",
      "memo",
      "fee_payer",
      "claim_height",
      "transaction",
    ],
    ...["reason", "watched", "orphaned", "servings", "fence", "fingerprint", "asset_amount", "topup"],
  ],
  usage: [
    ...[
      "export_id",
      "id",
      "at",
      "tier",
      "account",
      "key_id",
      "key_label",
      "payer",
      "route",
      "model",
      "provider",
    ],
    ...["prompt_tokens", "completion_tokens", "estimated", "held_usd", "held_micro_usd", "charged_usd"],
    ...["charged_micro_usd", "upstream_cost_usd", "upstream_cost_micro_usd", "status"],
    ...["upstream_status", "ms", "transaction"],
    "not_charged",
  ],
};

/**
 * A record as it is exported. `export_id` is the same whenever the same record is written: an entry's account and reference, a usage
 * record's id, a payment's id and version. A payment that changed has another one; its row with the latest `updated_at` and, among
 * those, the greatest `fence` counts.
 */
function exportRow(record: ExportRecord): Row {
  switch (record.kind) {
    case "journal": {
      const { account, reference, kind, keyId, amount, balance, at } = record.entry;
      const sums = { ...money("amount", amount), ...money("balance", balance) };
      const id = `${account}/${reference}`;
      return { export_id: id, at: iso(at), account, reference, kind, key_id: keyId ?? null, ...sums };
    }
    case "usage":
      return { export_id: `usage/${record.usage.id}`, ...usageView(record.usage) };
    case "payments":
      return paymentRow(record.payment);
  }
}

function paymentRow(payment: Extract<ExportRecord, { kind: "payments" }>["payment"]): Row {
  const { id, state, payer, asset, network, route, memo, watched, orphaned, servings, fence } = payment;
  return {
    export_id: `${id}/${paymentVersion(payment)}`,
    ...{ id, state, payer, asset, network, route, memo, watched, orphaned, servings, fence },
    created_at: iso(payment.createdAt),
    updated_at: iso(payment.updatedAt),
    ...money("amount", payment.amount),
    pay_to: payment.payTo,
    x402_version: payment.x402Version,
    fee_payer: payment.feePayer,
    claim_height: payment.claimHeight?.toString() ?? null,
    transaction: payment.transaction ?? null,
    reason: payment.reason ?? null,
    fingerprint: payment.fingerprint,
    asset_amount: payment.assetAmount.toString(),
    topup: payment.isTopUp,
  };
}

/** What a file begins with. */
export function headOf(kind: ExportKind, format: ExportFormat): string {
  return format === "csv" ? `${COLUMNS[kind].join(",")}\r\n` : "";
}

/** A record as a line, its end included. A CSV's cells are defused as in `farebox usage --csv`. */
export function lineOf(record: ExportRecord, format: ExportFormat): string {
  const row = exportRow(record);
  const columns = COLUMNS[record.kind];
  if (format === "csv") return `${columns.map((column) => cell(column, row[column])).join(",")}\r\n`;
  return `${JSON.stringify(Object.fromEntries(columns.map((column) => [column, row[column]])))}\n`;
}

/** Amounts are digits of our own making: a minus sign in front is no formula. */
function cell(column: string, value: unknown): string {
  return column.endsWith("_usd") && typeof value === "string" ? value : csvCell(value);
}
